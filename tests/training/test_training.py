"""Learning: its parts against plain loops, and whole runs on a tiny generated data set."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers import REPOSITORY
from PIL import Image

from cifar_model.__main__ import main
from cifar_model.answering.classifier import Classifier
from cifar_model.data.cache import load_cifar10
from cifar_model.errors import LabError, RunError
from cifar_model.models.card import Card, load_card
from cifar_model.models.folder import find_model, list_models
from cifar_model.models.history import read_history
from cifar_model.models.network import load_network
from cifar_model.networks.views import single_view
from cifar_model.runs.change import request
from cifar_model.runs.read import read_guesses, read_run
from cifar_model.runs.records import read_object
from cifar_model.storage import runs_dir
from cifar_model.training.augment import augment_batch, blend_batch, shrink
from cifar_model.training.batches import Batches
from cifar_model.training.finish import learned_nothing
from cifar_model.training.folder import RunDirectory
from cifar_model.training.recipes import schedule_factor
from cifar_model.training.settings import Settings
from cifar_model.training.train import train
from cifar_model.trust.calibration import calibrate
from cifar_model.trust.mixes import mix_scores

# ----------------------------------------------------------------------------- parts


def test_augment_matches_a_loop_over_reflected_pictures():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (40, 32, 32, 3), np.uint8)
    mirrored = rng.random(40) < 0.5
    result = augment_batch(images, np.random.default_rng(7), mirrored=mirrored, shift=2, cutout=0)
    draws = np.random.default_rng(7)
    down, right = draws.integers(-2, 3, (40, 1))[:, 0], draws.integers(-2, 3, (40, 1))[:, 0]
    for i, image in enumerate(images):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        expected = padded[2 + down[i] : 34 + down[i], 2 + right[i] : 34 + right[i]]
        np.testing.assert_array_equal(result[i], expected[:, ::-1] if mirrored[i] else expected)
    assert len(set(zip(down, right, strict=True))) > 10


def test_blends_lie_between_two_images_and_so_do_their_targets():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 32, 32, 3), np.uint8)
    targets = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 6)]
    blended, mixed = blend_batch(images, targets, np.random.default_rng(5), alpha=1.0)
    shares = np.random.default_rng(5).beta(1.0, 1.0, 6)
    for i, share in enumerate(shares):
        exact = share * images[i].astype(float) + (1 - share) * images[5 - i]
        assert np.abs(blended[i] - exact).max() <= 0.51
        np.testing.assert_allclose(mixed[i], share * targets[i] + (1 - share) * targets[5 - i], atol=1e-6)


def test_outliers_follow_the_batch_from_half_of_the_run_on_and_leave_it_as_it_is():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (64, 32, 32, 3), np.uint8), rng.integers(0, 10, 64)
    others = rng.integers(0, 256, (9, 32, 32, 3), np.uint8)
    settings = Settings(network="seed-cnn", batch_size=16, epochs=3, augment=True)
    without = list(Batches(images, labels, settings=settings))
    batches = Batches(images, labels, settings=settings, outliers=others)
    exposed = list(batches)
    assert len(without) == len(exposed) == len(batches) == 12 and batches.steps == 4
    for number, ((x, y), (more_x, more_y)) in enumerate(zip(without, exposed, strict=True)):
        assert len(x) == 16 and len(more_x) == batches.size_at(number) == (16 if number < 6 else 24)
        np.testing.assert_array_equal(more_x[:16], x)
        np.testing.assert_array_equal(more_y[:16], y)
        np.testing.assert_allclose(more_y[16:], 0.1)


def test_cutout_paints_one_square_inside_each_picture():
    images = np.zeros((50, 24, 24, 3), np.uint8)
    result = augment_batch(images, np.random.default_rng(0), mirrored=np.zeros(50, bool), shift=1, cutout=6)
    painted = (result == 128).all(-1)
    assert (painted.sum((1, 2)) == 36).all()
    assert all(np.ptp(np.nonzero(picture)[0]) == 5 and np.ptp(np.nonzero(picture)[1]) == 5 for picture in painted)


@pytest.mark.parametrize("size", [8, 20, 24, 32])
def test_shrink_is_the_mean_over_each_pixels_area(size):
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    fine = images.repeat(size, 1).repeat(size, 2).astype(float)  # every output pixel is now 32×32 whole ones
    expected = fine.reshape(6, size, 32, size, 32, 3).mean((2, 4))
    assert np.abs(shrink(images, size) - expected).max() <= 0.5001


def test_a_batch_follows_from_seed_epoch_and_step_alone():
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    labels = np.arange(64) % 10
    settings = Settings(network="seed-cnn", recipe="quick", batch_size=16, epochs=3, seed=5)
    whole = list(Batches(images, labels, settings=settings))
    later = Batches(images, labels, settings=settings)
    later.pass_over(1)
    assert len(later) == 8
    for number in (7, 0, 3):  # in any order
        for ours, expected in zip(later[number], whole[4 + number], strict=True):
            np.testing.assert_array_equal(ours, expected)
    assert not np.array_equal(whole[0][0], whole[4][0])
    for epoch in (0, 1, 2):
        targets = np.concatenate([y for _, y in whole[4 * epoch : 4 * epoch + 4]])
        assert targets.shape == (64, 10) and sorted(targets.argmax(1)) == sorted(labels)


def test_epochs_mirror_alternately():
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    # Every shift draws the same border where rows and columns are all alike but for the side: which half is bright.
    images[:, :, :16], images[:, :, 16:] = 0, np.arange(64, 128)[:, None, None, None]
    settings = Settings(network="seed-cnn", recipe="quick", batch_size=64, epochs=2, seed=5)
    (first, _), (second, _) = Batches(images, np.zeros(64, int), settings=settings)
    for number in range(64):
        ways = [batch[(batch == 64 + number).any((1, 2, 3))][0] for batch in (first, second)]
        assert (ways[0][16, 0, 0] == 0) != (ways[1][16, 0, 0] == 0)
    plain = dataclasses.replace(settings, augment=False)
    order = Batches(images, np.zeros(64, int), settings=plain)[0][0]
    assert {picture.tobytes() for picture in order} == {picture.tobytes() for picture in images}


def test_images_grow_and_an_epoch_may_take_them_several_times():
    images = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)
    settings = Settings(network="lab-net", recipe="quick", batch_size=10, epochs=5, data="mini")  # two passes an epoch
    batches = Batches(images, np.arange(10), settings=settings)
    assert batches.steps == 2
    assert [x.shape[1] for x, _ in batches] == [16] * 3 + [24] * 5 + [32] * 2
    assert sorted(np.concatenate([batches[0][1], batches[1][1]]).argmax(1)) == sorted([*range(10)] * 2)
    # `fit` learns from the first two what shapes may come.
    assert [batches.show_shapes()[i][0].shape[1] for i in (0, 1)] == [16, 32]
    batches.on_epoch_begin()
    assert batches[1][0].shape == (10, 16, 16, 3)


# ----------------------------------------------------------------------------- whole runs


def small(tiny_cifar10, **changes) -> Settings:
    values = dict(network="custom", filters=(8, 8), dense=16, recipe="quick", epochs=2, precision="float32")
    return Settings(data=str(tiny_cifar10), **(values | changes))


@pytest.fixture(scope="module")
def finished(tiny_cifar10):
    """A finished run of seed-cnn that has learnt the stripes."""
    path = runs_dir() / "finished"
    settings = Settings(
        network="seed-cnn", recipe="quick", epochs=8, batch_size=32, data=str(tiny_cifar10), precision="float32"
    )
    records = []
    card = train(settings, path, command="the command", report=lambda kind, record: records.append((kind, record)))
    return path, card.stored, records


def test_a_finished_run_holds_everything_it_promises(finished):
    path, card, records = finished
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "finished" and status["epoch"] == status["epochs"] == 8
    history = read_history(path)
    assert list(history["epoch"]) == list(range(1, 9))
    assert np.isfinite(history.to_numpy()).all()
    pd.testing.assert_frame_equal(
        history.drop(columns="epoch"), pd.DataFrame([r for kind, r in records if kind == "epoch"])[history.columns[1:]],
        rtol=1e-4, check_dtype=False,
    )  # fmt: skip
    progress = [json.loads(line) for line in (path / "progress.jsonl").read_text().splitlines()]
    assert progress == [record for kind, record in records if kind == "progress"]
    assert progress[-1]["step"] == progress[-1]["steps"] == 360 // 32
    settings = Settings.from_dict(card["settings"])
    assert progress[-1]["learning_rate"] == settings.learning_rate * schedule_factor(settings.details, 87 / 88)
    assert progress[-1]["loss"] == pytest.approx(history["loss"].iloc[-1], rel=1e-4)
    assert load_card(path) == card
    assert card["command"] == "the command" and card["parameters"] == 123_210
    assert card["data"]["train"] == 360 and card["data"]["validation"] == 40 and card["data"]["test"] == 100
    assert any((path / "tensorboard").rglob("events.*"))
    guesses = read_guesses(path)
    assert guesses.images.shape == (8, 32, 32, 3) and guesses.probabilities.shape == (8, 10)
    assert not list(path.rglob("*.tmp")) and not list(path.glob(".*.keras"))


def test_it_has_learnt_and_the_saved_network_scores_what_the_card_says(finished, tiny_cifar10):
    from cifar_model.data.cache import load_cifar10

    path, card, _ = finished
    assert card["scores"]["test_accuracy"] > 0.5
    (_, _), (images, labels) = load_cifar10(tiny_cifar10)
    raw = load_network(path).predict_on_batch(np.asarray(images))
    np.testing.assert_allclose(Classifier(path, calibrated=False).predict(np.asarray(images)), raw, atol=1e-5)
    answers = Classifier(path).predict(np.asarray(images))
    np.testing.assert_allclose(answers, calibrate(raw, card["calibration"]), atol=1e-5)
    assert (answers.argmax(1) == labels).mean() == pytest.approx(card["scores"]["test_accuracy"])
    loss = -np.log(answers[np.arange(len(labels)), labels]).mean()
    assert loss == pytest.approx(card["scores"]["test_loss"], rel=1e-3)


def test_runs_and_their_epochs_are_models(finished):
    path, card, _ = finished
    assert find_model("finished") == path
    assert find_model("finished@3") == path / "epochs" / "epoch-003.keras"
    assert find_model(path) == path
    names = [model.name for model in list_models(epochs=True)]
    assert "finished" in names and "finished@8" in names
    assert load_card(find_model("finished@3")) == card
    best = load_network(find_model(f"finished@{card['best_epoch']}")).get_weights()
    for ours, saved in zip(best, load_network(path).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, saved)
    with pytest.raises(LabError, match="finished"):
        find_model("finished@99")


def test_lab_net_trains_with_muon_and_resolutions_and_answers_alike_in_float32(tiny_cifar10, tmp_path):
    settings = Settings(
        network="lab-net", recipe="full", epochs=2, batch_size=120, data=str(tiny_cifar10), precision="bfloat16"
    )
    card = train(settings, tmp_path / "lab").stored
    assert card["averaging"] == "mirror" and card["precision"] == "bfloat16"
    network = load_network(tmp_path / "lab")
    _, (images, labels) = load_cifar10(tiny_cifar10)
    single = single_view(network).predict_on_batch(np.asarray(images)).argmax(1)
    assert card["scores"]["test_accuracy_single_view"] == pytest.approx(np.mean(single == labels), abs=0.011)
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    np.testing.assert_allclose(
        network.predict_on_batch(pictures), network.predict_on_batch(pictures[:, :, ::-1]), atol=1e-5
    )


def weights(path):
    return load_network(path).get_weights()


def command(*arguments):
    return [sys.executable, "-m", "cifar_model", *map(str, arguments)]


def test_killed_and_resumed_is_the_same_as_never_killed(tiny_cifar10):
    options = [
        "--network", "custom", "--filters", "8,8", "--dense", 16, "--recipe", "quick", "--epochs", 4,
        "--batch-size", 8, "--deterministic", "--precision", "float32", "--data", tiny_cifar10, "--queue",
    ]  # fmt: skip
    quiet = dict(cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    subprocess.run(command("train", *options, "--run", "whole"), check=True, **quiet)
    folder = runs_dir() / "broken"
    process = subprocess.Popen(command("train", *options, "--run", "broken"), **quiet)
    deadline = time.monotonic() + 300
    while len(read_history(folder)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    before = read_history(folder)
    assert 2 <= len(before) < 4, "killed too late to test anything"
    assert read_run("broken").state == "interrupted"
    subprocess.run(command("train", "--resume", "broken"), check=True, **quiet)
    after = read_history(folder)
    assert list(after["epoch"]) == [1, 2, 3, 4]
    columns = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    pd.testing.assert_frame_equal(after[columns], read_history(runs_dir() / "whole")[columns])
    for file in ("model.keras", "epochs/epoch-004.keras"):
        for ours, theirs in zip(weights(folder / file), weights(runs_dir() / "whole" / file), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    result = subprocess.run(command("train", "--resume", "broken"), cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 1 and "finished" in result.stderr


class Director(threading.Thread):
    """Trains in a thread, so that the test can send requests meanwhile."""

    def __init__(self, settings, path):
        super().__init__(daemon=True)
        self.settings, self.path, self.records, self.card = settings, path, [], None
        self.start()

    def run(self):
        self.card = train(self.settings, self.path, report=lambda *record: self.records.append(record)).stored

    def wait_for(self, state):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.state() == state:
                return
            time.sleep(0.02)
        raise AssertionError(f"still {self.state()}, waited for {state}")

    def state(self):
        try:
            return json.loads((self.path / "status.json").read_text())["state"]
        except (OSError, ValueError):
            return None

    def lines(self):
        return len((self.path / "progress.jsonl").read_bytes().splitlines())


def test_pause_set_rate_resume_and_stop(tiny_cifar10):
    path = runs_dir() / "steered"
    director = Director(small(tiny_cifar10, epochs=200, batch_size=8), path)
    director.wait_for("running")
    request("steered", "pause")
    director.wait_for("paused")
    count = director.lines()
    time.sleep(1.2)
    assert director.lines() == count
    request("steered", "set-lr", 0.0005)
    request("steered", "resume")
    director.wait_for("running")
    deadline = time.monotonic() + 60
    while read_run("steered").status["epoch"] < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    request("steered", "stop")
    director.join(60)
    _, (images, labels) = load_cifar10(tiny_cifar10)
    right = load_network(path).predict_on_batch(np.asarray(images)).argmax(1) == labels
    assert director.card["scores"]["test_accuracy"] == pytest.approx(right.mean(), abs=0.011)
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "stopped" and 1 <= status["epoch"] < 200
    # Set within the warm-up (10 epochs long), it is the height that the rate is rising to.
    rate = read_history(path)["learning_rate"].iloc[0]
    assert rate == pytest.approx(0.0005 / 10, rel=0.05)
    assert not list((path / "requests").iterdir())
    assert load_network(path).output_shape == (None, 10)


def test_a_stop_that_came_too_late_does_not_stop_the_run_when_it_is_resumed(tiny_cifar10, tmp_path):
    path, settings = tmp_path / "late", small(tiny_cifar10, epochs=1, batch_size=64)
    train(settings, path)
    (path / "requests").mkdir(exist_ok=True)
    stale = path / "requests" / f"{time.time_ns()}-stop.json"
    stale.write_text('{"action": "stop"}')
    more = dataclasses.replace(settings, epochs=2)
    train(more, path, resume=True)
    assert read_history(path)["epoch"].tolist() == [1, 2] and not stale.exists()
    # What is asked after the run was begun counts, though its process has hardly started.
    begun = time.time()
    fresh = path / "requests" / f"{time.time_ns()}-stop.json"
    fresh.write_text('{"action": "stop"}')
    train(dataclasses.replace(settings, epochs=3), path, resume=True, begun=begun)
    assert read_history(path)["epoch"].tolist() == [1, 2]
    assert json.loads((path / "status.json").read_text())["state"] == "stopped"


def test_a_pause_in_the_queue_changes_nothing(tiny_cifar10, tmp_path):
    path, seen = tmp_path / "waiting", []

    def ahead():
        if len(seen) == 3:
            return []
        seen.append(read_object(path / "status.json").get("state"))
        (path / "requests").mkdir(exist_ok=True)
        (path / "requests" / f"{time.time_ns()}-pause.json").write_text('{"action": "pause"}')
        return ["other"]

    train(small(tiny_cifar10, epochs=1, batch_size=64), path, ahead=ahead)
    assert seen == [None, "queued", "queued"] and len(read_history(path)) == 1


def test_of_two_terminals_one_starts(tiny_cifar10, tmp_path):
    options = ["--network", "custom", "--filters", "8", "--epochs", 1, "--batch-size", 64, "--data", tiny_cifar10]
    environment = os.environ | {"CIFAR_LAB_RUNS": str(tmp_path), "CIFAR_LAB_MAX_RUNS": "1"}
    both = [
        subprocess.Popen(
            command("train", *options, "--run", name), cwd=REPOSITORY, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    assert "is ahead, and 1 may train at a time" in said[both[1].returncode == 1]
    assert [path.parent.name for path in tmp_path.glob("*/model.keras")] == [("one", "two")[both[0].returncode]]


def test_stop_in_the_first_epoch_keeps_a_model(tiny_cifar10, tmp_path):
    path = tmp_path / "early"
    (path / "requests").mkdir(parents=True)
    (path / "requests" / "1-stop.json").write_text('{"action": "stop"}')
    (path / "requests" / "0-junk.json").write_text("{nonsense")
    waiting = iter([[], []])
    card = train(small(tiny_cifar10, epochs=50, batch_size=8), path, ahead=lambda: next(waiting)).stored
    assert json.loads((path / "status.json").read_text())["state"] == "stopped"
    assert card["best_epoch"] == 0 and len(read_history(path)) == 0
    load_network(path)


def test_ctrl_c_stops_and_keeps_the_model(tiny_cifar10):
    options = ["--network", "custom", "--filters", "8", "--batch-size", 8, "--epochs", 200, "--data", tiny_cifar10]
    process = subprocess.Popen(
        command("train", *options, "--run", "interrupted-by-hand", "--queue"),
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )  # fmt: skip
    path = runs_dir() / "interrupted-by-hand"
    deadline = time.monotonic() + 120
    while len(read_history(path)) < 1 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "Test accuracy" in output and "Traceback" not in output
    assert read_run("interrupted-by-hand").state == "stopped"


def test_start_from_begins_with_another_models_weights(finished, tiny_cifar10, tmp_path):
    path, _, _ = finished
    settings = Settings(
        network="seed-cnn", recipe="quick", epochs=1, learning_rate=1e-6, start_from="finished",
        data=str(tiny_cifar10), precision="float32",
    )  # fmt: skip
    card = train(settings, tmp_path / "further").stored
    assert card["start_from"]["name"] == "finished" and card["start_from"]["command"] == "the command"
    for before, after in zip(weights(path), weights(tmp_path / "further"), strict=True):
        if before.ndim == 4:  # kernels have hardly moved at such a rate
            np.testing.assert_allclose(before, after, atol=1e-4)
    with pytest.raises(LabError, match="another shape"):
        train(small(tiny_cifar10, start_from="finished"), tmp_path / "other")


def test_start_from_refuses_a_model_that_may_have_seen_the_held_out_images(finished, tiny_cifar10, tmp_path):
    path, _, _ = finished
    share = load_card(path)["settings"]["validation"]
    wide = Settings(
        network="seed-cnn", recipe="quick", epochs=1, start_from="finished", data=str(tiny_cifar10),
        precision="float32", validation=share + 0.1,
    )  # fmt: skip
    with pytest.raises(LabError, match="trained on images that this run would hold out"):
        train(wide, tmp_path / "wide")
    stored = json.loads((path / "card.json").read_text())
    older = stored | {"data": {key: value for key, value in stored["data"].items() if key != "held_out_up_to"}}
    try:
        (path / "card.json").write_text(json.dumps(older))
        with pytest.raises(LabError, match="doesn't say which images were held out"):
            train(dataclasses.replace(wide, validation=share), tmp_path / "older")
    finally:
        (path / "card.json").write_text(json.dumps(stored))


def test_outliers_and_blends_go_into_a_run_and_its_card(tiny_cifar10, tmp_path):
    others = tmp_path / "others"
    others.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8)):
        Image.fromarray(pixels).save(others / f"{number}.png")
    settings = small(tiny_cifar10, outliers=str(others), mixup=1.0, epochs=3)
    notes = []
    card = train(settings, tmp_path / "exposed", report=lambda kind, record: notes.append(record.get("message"))).stored
    assert any("30 images of other things" in str(note) for note in notes)
    assert "30 images of other things" in card["data"]["outliers"]
    assert card["settings"]["mixup"] == 1.0 and f"--outliers {others}" in " ".join(settings.to_argv())
    _, test = load_cifar10(tiny_cifar10)
    assert card["mixes"] == pytest.approx(mix_scores(Classifier(tmp_path / "exposed").predict, *test), abs=1e-4)


# ----------------------------------------------------------------------------- Keras's callbacks


def scripted(**values):
    """A callback that notes what it finds in an epoch's logs, and puts scripted values in its place."""
    import keras

    class Scripted(keras.callbacks.Callback):
        found = []

        def on_epoch_end(self, epoch, logs=None):
            self.found.append(dict(logs))
            logs.update({key: script[epoch] for key, script in values.items()})

    return Scripted()


def test_early_stopping_of_keras_ends_the_run_at_the_epoch_that_it_should(tiny_cifar10, tmp_path):
    import keras

    script = scripted(val_loss=[3.0, 2.0, 2.5, 1.0, 1.0])
    callbacks = [script, keras.callbacks.EarlyStopping("val_loss", patience=0)]
    card = train(small(tiny_cifar10, epochs=5, batch_size=64), tmp_path / "early", callbacks=callbacks).stored
    history = read_history(tmp_path / "early")
    assert list(history["epoch"]) == [1, 2, 3]
    for row, logs in zip(history.to_dict("records"), script.found, strict=True):
        assert {key: pytest.approx(logs[key], rel=1e-4) for key in row if key != "epoch"} == {
            key: value for key, value in row.items() if key != "epoch"
        }
    status = json.loads((tmp_path / "early" / "status.json").read_text())
    assert status["state"] == "finished" and status["epoch"] == 3
    assert "after 3 of 5 epochs: a callback ended it" in status["message"]
    # What is kept is the best by the run's own measure, which no callback can change.
    assert card["best_epoch"] == 1 + history["val_accuracy"][::-1].idxmax()


def test_reduce_on_plateau_scales_the_rest_of_the_curve(tiny_cifar10, tmp_path):
    import keras

    callbacks = [scripted(val_loss=[1.0] * 4), keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1)]
    settings = small(tiny_cifar10, epochs=4, batch_size=64)
    train(settings, tmp_path / "plateau", callbacks=callbacks)
    steps = 360 // 64
    planned = [
        settings.learning_rate * schedule_factor(settings.details, (epoch * steps - 1) / (4 * steps))
        for epoch in (1, 2, 3, 4)
    ]
    rates = read_history(tmp_path / "plateau")["learning_rate"]
    np.testing.assert_allclose(rates, np.multiply(planned, [1, 1, 0.5, 0.25]), rtol=1e-4)
    state = json.loads((tmp_path / "plateau" / "checkpoint" / "state.json").read_text())
    assert state["rate_factor"] == pytest.approx(0.125)


def test_the_option_of_early_stopping_and_more_epochs_for_a_run_that_it_ended(tiny_cifar10, tmp_path):
    path = tmp_path / "patient"
    settings = small(tiny_cifar10, epochs=8, batch_size=64, early_stopping=2)
    assert "--early-stopping 2" in " ".join(settings.to_argv())
    script = [0.1, 0.3, 0.2, 0.3, 0.9, 0.8, 0.7, 0.6, 0.5]
    train(settings, path, callbacks=[scripted(val_accuracy=script)])
    assert list(read_history(path)["epoch"]) == [1, 2, 3, 4]
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "finished"
    assert "after 4 of 8 epochs: the validation accuracy has not improved for 2 epochs" in status["message"]
    # It doesn't go on by itself; with more epochs it waits anew.
    train(settings, path, resume=True)
    assert len(read_history(path)) == 4
    train(dataclasses.replace(settings, epochs=9), path, resume=True, callbacks=[scripted(val_accuracy=script)])
    assert list(read_history(path)["epoch"]) == [1, 2, 3, 4, 5, 6, 7]


def test_a_resumed_run_goes_on_counting_the_epochs_without_improvement():
    from cifar_model.training.callbacks import EarlyStopping
    from cifar_model.training.state import State

    class Model:
        stop_training = False

    state = State.from_dict({"epoch": 5, "early_stopping": [0.3, 1], "weights": "epoch-005.weights.h5"})
    callback = EarlyStopping(2, state)
    callback.set_model(Model())
    callback.on_train_begin()
    callback.on_epoch_end(5, {"val_accuracy": 0.3})
    assert callback.model.stop_training and state.early_stopping == [0.3, 2]


# ----------------------------------------------------------------------------- going on


def test_a_finished_run_gets_more_epochs_in_the_number_format_that_it_began_in(tiny_cifar10, monkeypatch):
    from cifar_model.training import train as module

    monkeypatch.setattr(module, "faster_precision", lambda: "float32")
    invoke = CliRunner().invoke
    options = ["--network", "custom", "--filters", "8", "--batch-size", "64", "--data", str(tiny_cifar10)]
    done = invoke(main, ["train", *options, "--epochs", "2", "--run", "longer"])
    assert done.exit_code == 0, done.output
    first = load_card(runs_dir() / "longer")
    assert first["precision"] == "float32"
    monkeypatch.setattr(module, "faster_precision", lambda: pytest.fail("measured anew"))
    for arguments, words in (
        ([], "finished: there is nothing to resume. Train it further with --resume longer --epochs 4"),
        (["--epochs", "2"], "has trained for 2 epochs already"),
        (["--seed", "1"], "Give no other option but --epochs"),
    ):
        refused = invoke(main, ["train", "--resume", "longer", *arguments])
        assert refused.exit_code in (1, 2) and words in " ".join(refused.output.split())
    done = invoke(main, ["train", "--resume", "longer", "--epochs", "3", "--learning-rate", "0.001"])
    assert done.exit_code == 0, done.output
    history, card = read_history(runs_dir() / "longer"), load_card(runs_dir() / "longer")
    assert list(history["epoch"]) == [1, 2, 3] and card["epochs"] == card["settings"]["epochs"] == 3
    assert (
        card["command"]
        == first["command"] + " && python -m cifar_model train --resume longer --epochs 3 --learning-rate 0.001"
    )
    settings = Settings.from_dict(card["settings"])
    assert settings.learning_rate == 0.001
    # The curve is stretched over all of its epochs.
    planned = settings.learning_rate * schedule_factor(settings.details, 14 / 15)
    assert history["learning_rate"].iloc[-1] == pytest.approx(planned, rel=1e-4)
    assert read_run("longer").state == "finished"


def test_stopped_in_its_first_epoch_and_resumed_is_the_same_as_never_stopped(tiny_cifar10, tmp_path):
    code = f"""
import sys, numpy as np
from pathlib import Path
from cifar_model.models.network import load_network
from cifar_model.training.settings import Settings
from cifar_model.training.train import train
home = Path({str(tmp_path)!r})
settings = Settings(network="custom", filters=(8,), epochs=1, batch_size=32, data={str(tiny_cifar10)!r},
                    precision="float32", deterministic=True)
train(settings, home / "whole")
letter = home / "broken" / "requests" / "1-stop.json"
letter.parent.mkdir(parents=True)
letter.write_text('{{"action": "stop"}}')
assert train(settings, home / "broken").best_epoch == 0
card = train(settings, home / "broken", resume=True).stored
assert card["best_epoch"] == 1, card["best_epoch"]
for ours, theirs in zip(*(load_network(home / name).get_weights() for name in ("broken", "whole")), strict=True):
    np.testing.assert_array_equal(ours, theirs)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(read_history(tmp_path / "broken")["epoch"]) == [1]


def test_killed_between_any_two_writes_of_an_epochs_end_it_goes_on_whole(tiny_cifar10, tmp_path, monkeypatch):
    from cifar_model.training import epoch_end

    path, settings = tmp_path / "run", small(tiny_cifar10, epochs=2, batch_size=64)
    copies = []

    def copy_after(kind, method):
        original = getattr(kind, method)

        def wrapped(self, *arguments):
            original(self, *arguments)
            if len(read_history(path)) == 2:
                copies.append(shutil.copytree(path, tmp_path / f"killed-{len(copies)}-{kind.__name__}"))

        monkeypatch.setattr(kind, method, wrapped)

    for kind in (epoch_end.History, epoch_end.KeepEpochs, epoch_end.Checkpoint, epoch_end.KeepBest):
        copy_after(kind, "on_epoch_end")
    train(settings, path)
    monkeypatch.undo()
    assert len(copies) == 4
    # Killed as it wrote the checkpoint, or the model and not yet its card.
    (copies[1] / "checkpoint" / f".{'1' * 32}.npz").write_bytes(b"half")
    (copies[1] / "checkpoint" / "epoch-002.npz").write_bytes(b"no state.json speaks of it")
    (copies[1] / f".{'0' * 32}.keras").write_bytes(b"half")
    for killed in copies:
        card = train(settings, killed, resume=True).stored
        history = read_history(killed)
        assert list(history["epoch"]) == [1, 2], killed.name
        assert card["best_epoch"] == load_card(killed)["best_epoch"]
        assert card["best_epoch"] == 1 + history["val_accuracy"][::-1].idxmax(), killed.name
        best = weights(killed / "epochs" / f"epoch-{card['best_epoch']:03d}.keras")
        for ours, saved in zip(weights(killed), best, strict=True):
            np.testing.assert_array_equal(ours, saved)
        assert [file.name for file in (killed / "checkpoint").glob("*.npz")] == ["epoch-002.npz"]
        assert not list(killed.rglob(".*.keras"))


@pytest.mark.parametrize(
    "accuracy, changes, words",
    [
        (
            0.099,
            {"learning_rate": 0.5},
            "9.9 % is no better than guessing. Start again with a lower",
        ),
        (
            0.1181,
            {"learning_rate": 1e-5},
            "guessing. Start again with a higher learning rate: this one was 1e-05, the recipe",
        ),
        (0.1, {}, "more epochs or more images"),
        (0.125, {"learning_rate": 0.5}, ""),
    ],
)
def test_a_run_that_learned_nothing_says_so_and_what_to_change(accuracy, changes, words):
    settings = Settings(network="seed-cnn", **changes)
    card = {
        "settings": settings.to_dict(), "best_epoch": 3, "data": {"test": 10_000, "validation": 5000},
        "scores": {"validation_accuracy": 0.5, "test_accuracy": accuracy},
    }  # fmt: skip
    message = learned_nothing(Card.from_dict(card))
    assert words in message and bool(words) == bool(message)
    # Of few images guessing may well be right about more.
    assert learned_nothing(Card.from_dict(card | {"data": {"test": 100, "validation": 40}}))


# ----------------------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_not_a_number_fails_clearly(tiny_cifar10, tmp_path):
    import keras

    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                for variable in self.model.trainable_variables:
                    variable.assign(np.full(variable.shape, np.nan))

    path = tmp_path / "nan"
    with pytest.raises(RunError, match="loss became nan in epoch 2, step 1"):
        train(small(tiny_cifar10, epochs=3), path, callbacks=[Break()])
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "failed" and "learning rate" in status["message"]
    assert np.isfinite(weights(path)[-1]).all()  # the first epoch's network is still there
    # From there it goes on with another learning rate.
    lower = dataclasses.replace(small(tiny_cifar10, epochs=3), learning_rate=1e-4)
    card = train(lower, path, resume=True)
    assert read_history(path)["epoch"].tolist() == [1, 2, 3]
    assert card.settings["learning_rate"] == 1e-4 and card.epochs_done == 3


def test_no_data_fails_clearly(tmp_path):
    with pytest.raises(LabError, match="nowhere"):
        train(Settings(data=str(tmp_path / "nowhere")), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"


def test_a_second_process_on_the_same_run_is_refused(tiny_cifar10, tmp_path):
    path = tmp_path / "held"
    with RunDirectory(path).hold():
        result = subprocess.run(
            command("train", "--data", tiny_cifar10, "--run", "held"),
            cwd=REPOSITORY, env={**os.environ, "CIFAR_LAB_RUNS": str(tmp_path)}, capture_output=True, text=True,
        )  # fmt: skip
    assert result.returncode == 1
    assert "Another process is at work" in result.stderr and "Traceback" not in result.stderr
    assert not (path / "settings.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on file sizes, which Windows hasn't")
def test_a_full_disk_leaves_no_half_written_model(tiny_cifar10, tmp_path):
    import resource

    options = ["--network", "seed-cnn", "--epochs", 1, "--data", tiny_cifar10, "--run", "full-disk"]
    result = subprocess.run(
        command("train", *options),
        cwd=REPOSITORY,
        env={**os.environ, "CIFAR_LAB_RUNS": str(tmp_path)},
        # A file can't grow beyond 200 kB: small records fit, the network doesn't.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        capture_output=True,
        text=True,
    )
    path = tmp_path / "full-disk"
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stderr
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "failed" and "disk is full" in status["message"] and "--resume" in status["message"]
    assert not list(path.rglob("*.keras")) and not list((path / "checkpoint").glob("*"))

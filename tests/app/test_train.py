"""The Train page's words, actions and failure paths; no training runs here."""

import json
import os
import time

import numpy as np
import psutil
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from cifar_model.app.train.download import the_download
from cifar_model.data import distilled, download, find
from cifar_model.data.download import PARTIAL_NAME
from cifar_model.distilling.write import write_mini
from cifar_model.errors import DatasetError, RunError
from cifar_model.models.history import HISTORY_COLUMNS
from cifar_model.networks.size import count_parameters
from cifar_model.runs import start as runs_start
from cifar_model.runs.read import list_runs
from cifar_model.training.settings import default_settings


@pytest.fixture
def home(tmp_path, monkeypatch, tiny_cifar10):
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("CIFAR10_DIR", str(tiny_cifar10))
    the_download.clear()
    return tmp_path / "runs"


def open_page(**query):
    at = AppTest.from_file("../../streamlit_app.py", default_timeout=30)
    for key, value in query.items():
        at.query_params[key] = value
    at.switch_page("pages/train.py").run()
    assert not at.exception
    return at


def expand(at, *keys):
    """Open these expanders of the form, by default both."""
    for key in keys or ("train_more_settings", "train_commands"):
        at.session_state[key] = True
    return at.run()


def words(at):
    parts = [
        *at.markdown,
        *at.caption,
        *at.info,
        *at.error,
        *at.warning,
        *at.title,
        *at.header,
        *at.subheader,
        *at.code,
    ]
    return "\n".join(str(part.value) for part in parts)


def button(at, label):
    return next(item for item in at.button if item.label == label)


def labels(at):
    return [item.label for item in at.button]


def write_run(home, name, state="finished", epochs=2, message=""):
    """A run as the trainer leaves it, with `epochs` of 3 done."""
    path = home / name
    path.mkdir(parents=True)
    me = psutil.Process()
    status = {"state": state, "message": message, "pid": me.pid, "pid_started": me.create_time()}
    (path / "status.json").write_text(json.dumps(status | {"updated": time.time(), "epoch": epochs}))
    settings = default_settings("seed-cnn", "quick").to_dict() | {"epochs": 3, "seed": len(name)}
    record = {"name": name, "created": time.time(), "command": f"python -m cifar_model train --run {name}"}
    (path / "settings.json").write_text(json.dumps(record | {"settings": settings}))
    rows = [f"{n},{1 / n},{0.3 + n / 10},{1.1 / n},{0.25 + n / 10},0.001,500,10" for n in range(1, epochs + 1)]
    (path / "history.csv").write_text("\n".join([",".join(HISTORY_COLUMNS), *rows, ""]))
    if epochs:
        record = {"time": 1.0, "epoch": epochs, "epochs": 3, "step": 5, "steps": 10, "loss": 0.75, "accuracy": 0.625}
        record |= {"learning_rate": 0.002, "images_per_second": 432.1, "seconds_left": 95}
        (path / "progress.jsonl").write_text(json.dumps(record) + "\n")
        np.savez(path / "guesses.npz", images=np.zeros((8, 32, 32, 3), np.uint8), labels=np.arange(8))
        sure = np.full((8, 10), 0.05)
        sure[:, 3] = 0.55
        (path / "guesses.jsonl").write_text(json.dumps({"epoch": 1, "step": 1, "probabilities": sure.tolist()}) + "\n")
    return path


def letters(path):
    return [json.loads(file.read_text())["action"] for file in sorted((path / "requests").glob("*.json"))]


def test_first_visit(home):
    at = open_page()
    text = words(at)
    assert "None yet." in text and "None yet." in text
    assert f"**{count_parameters('lab-net'):,}** parameters" in text
    assert "python -m cifar_model train --network lab-net --recipe quick --run lab-net-quick-1" in words(expand(at))
    assert not button(at, "Start training").disabled


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No CIFAR-10 on this machine."""
    monkeypatch.delenv("CIFAR10_DIR")
    monkeypatch.setattr(find, "keras_folders", lambda: [tmp_path / "keras"])


@pytest.fixture
def mini(monkeypatch, tmp_path):
    """Small sheets in the place of the distilled images."""
    pictures = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32, 3), np.uint8)
    monkeypatch.setattr(distilled, "mini_dir", lambda: tmp_path / "mini")
    card = {"scores": {"seed-cnn": {"real_test_accuracy_mean": 0.5678, "runs": 3}}}
    write_mini(tmp_path / "mini", pictures, pictures[:, :1], card)
    st.cache_data.clear()


def test_without_data_it_learns_from_the_pictures_that_ship(home, nowhere, mini, monkeypatch):
    asked = []
    monkeypatch.setattr(runs_start, "start_run", lambda settings, name, queue, owner: asked.append(settings) or "x")
    at = expand(open_page())
    text = words(at)
    assert "57 %" in text and "synthetic" in text and "makes far better networks" in text
    assert "Download CIFAR-10" in labels(at) and "Train on" not in [c.label for c in at.segmented_control]
    assert "--data mini" in text
    button(at, "Start training").click().run()
    assert asked[0] == default_settings("seed-cnn", "quick", "mini")


def test_with_a_cluster_a_run_waits_for_no_other(home, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_RAY", "127.0.0.2:6379")
    monkeypatch.setattr(runs_start, "_send", lambda: None)
    write_run(home, "here", "running")
    at = open_page()
    assert "ahead" not in words(at) and not button(at, "Start training").disabled
    runs_start.start_run(default_settings("seed-cnn", "quick"), "far")
    at = open_page(run="far")
    assert "1 run waits for a place in the cluster" in words(at) and button(at, "Start training")
    assert "It waits for a place in the cluster" in at.get("progress")[0].proto.text


def test_with_data_both_are_choices(home, mini):
    at = expand(open_page())
    assert "Download CIFAR-10" not in labels(at) and "--data" not in words(at)
    at.segmented_control(key="train_pictures").set_value("mini").run()
    at.segmented_control(key="train_network").set_value("seed-cnn").run()
    expand(at)
    assert "--data mini" in words(at) and "57 %" in words(at)
    assert at.number_input(key="train_epochs_seed-cnn_quick_mini").value == 20
    assert not button(at, "Start training").disabled


def test_the_distilled_pictures_are_shown(home, mini):
    def look():
        from cifar_model.app.train.distilled import mini_pictures

        mini_pictures()

    at = AppTest.from_function(look, default_timeout=30).run()
    assert len(at.get("image")) == 10 and "Not photographs" in words(at)
    at.pills(key="train_mini_class").set_value("frog").run()
    assert len(at.get("image")) == 3 and not at.exception


def test_a_run_on_distilled_pictures_says_what_its_numbers_are_of(home, mini):
    path = write_run(home, "small")
    record = json.loads((path / "settings.json").read_text())
    record["settings"]["data"] = "mini"
    (path / "settings.json").write_text(json.dumps(record))
    write_run(home, "large")
    at = open_page(run="small")
    text = words(at)
    assert "validation images are synthetic too" in text
    assert "57 %" in text and "sample photographs" in text
    shown = {metric.label: metric.value for metric in at.metric}
    assert list(shown)[0] == "Sample photographs" and shown["Sample photographs"] == "1 of 8"
    assert "Validation, synthetic" in shown
    assert sorted(at.dataframe[0].value["Images"]) == ["CIFAR-10", "distilled"]


def test_a_broken_download_can_go_on(home, nowhere, mini, tmp_path):
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / PARTIAL_NAME).write_bytes(bytes(3_000_000))
    assert "Continue the download after 3 MB" in labels(open_page())


def test_without_data_and_without_those_a_download_is_offered(home, nowhere, monkeypatch, tmp_path):
    monkeypatch.setattr(distilled, "mini_dir", lambda: tmp_path / "no-mini")

    def offline(progress):
        progress(1, 10)
        raise DatasetError("No answer from www.cs.toronto.edu: is there a network?")

    monkeypatch.setattr(download, "download", offline)
    at = open_page()
    assert "it isn't here yet" in words(at) and button(at, "Start training").disabled
    button(at, "Download CIFAR-10").click().run()
    for _ in range(50):
        if not the_download().running:
            break
        time.sleep(0.05)
    at.run()
    assert "is there a network?" in words(at) and "CIFAR10_DIR" in words(at)
    assert "Try again" in labels(at) and not at.exception


def test_a_data_folder_that_is_not_there(home, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", "/not/there")
    at = open_page()
    assert "/not/there does not exist" in words(at)
    assert "Download CIFAR-10" not in labels(at) and button(at, "Start training").disabled


def test_with_a_wrong_setting_distilled_pictures_are_a_choice_only(home, mini, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", "/not/there")
    at = open_page()
    assert "/not/there does not exist" in words(at) and button(at, "Start training").disabled
    at.segmented_control(key="train_pictures").set_value("mini").run()
    assert not button(at, "Start training").disabled


def test_runs_kept_in_a_temporary_folder_are_said_to_be(home, monkeypatch, tmp_path):
    monkeypatch.setattr("cifar_model.app.train.past.temporary_folder", lambda: tmp_path)
    assert "Your home folder can't be written to" in words(open_page())


def test_a_recipe_fills_the_form(home):
    at = open_page()
    at.segmented_control(key="train_network").set_value("seed-cnn").run()
    at.segmented_control(key="train_recipe").set_value("seed").run()
    expand(at)
    assert at.number_input(key="train_epochs_seed-cnn_seed").value == 15
    assert at.number_input(key="train_batch_size_seed-cnn_seed").value == 32
    assert at.selectbox(key="train_optimizer_seed-cnn_seed").value == "adam"
    assert at.toggle(key="train_augment_seed-cnn_seed").value is False
    assert f"**{count_parameters('seed-cnn'):,}** parameters" in words(at)


def test_the_editor_counts_parameters(home):
    at = open_page()
    at.segmented_control(key="train_network").set_value("custom").run()
    at.slider(key="train_blocks").set_value(2).run()
    at.number_input(key="train_filters1").set_value(128).run()
    at.number_input(key="train_dense").set_value(100).run()
    count = count_parameters("custom", filters=(32, 128), dropout=0.2, dense=100)
    assert f"This network has **{count:,}** parameters" in words(at)
    expand(at)
    assert "--filters 32,128" in words(at) and "--dense 100" in words(at)


def test_a_name_that_is_none(home):
    at = expand(open_page())
    at.text_input(key="train_name_0").set_value("../../etc").run()
    assert "use letters, digits" in words(at) and "Start training" not in labels(at)


def test_start_uses_the_form(home, monkeypatch):
    calls = []

    def start(settings, name, *, queue, owner):
        calls.append((settings, name, queue))
        write_run(home, "fresh", "starting", epochs=0)
        return "fresh"

    monkeypatch.setattr(runs_start, "start_run", start)
    at = expand(open_page())
    at.number_input(key="train_epochs_lab-net_quick").set_value(7).run()
    at.slider(key="train_fraction").set_value(20).run()
    at.session_state["train_more_settings"] = False  # what is out of sight counts all the same
    at.run()
    assert "train_fraction" not in [slider.key for slider in at.slider]
    button(at, "Start training").click().run()
    [(settings, name, queue)] = calls
    assert (settings.epochs, settings.fraction, settings.network, name, queue) == (7, 0.2, "lab-net", None, False)
    assert "fresh" in words(at) and "starting" in words(at) and not at.exception


def test_blends_and_other_things_are_switches(home, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(
        runs_start, "start_run", lambda settings, name, *, queue, owner: calls.append(settings) or "fresh"
    )
    monkeypatch.setenv("CIFAR100_DIR", str(tmp_path / "nowhere"))
    at = expand(open_page())
    assert "train_outliers" not in [toggle.key for toggle in at.toggle]  # only where CIFAR-100 is found
    monkeypatch.setenv("CIFAR100_DIR", str(tmp_path))
    at = expand(open_page())
    assert "--mixup" not in words(at) and "--outliers" not in words(at)
    at.toggle(key="train_mixup").set_value(True).run()
    at.toggle(key="train_outliers").set_value(True).run()
    assert "--outliers cifar100 --mixup 1.0" in words(at)
    button(at, "Start training").click().run()
    assert (calls[0].mixup, calls[0].outliers) == (1.0, "cifar100")


def test_what_a_beginner_does_not_need_is_out_of_sight(home):
    at = open_page()
    more = next(expander for expander in at.expander if expander.label == "More settings")
    assert not more.proto.expanded and not more.number_input
    expand(at, "train_more_settings")
    more = next(expander for expander in at.expander if expander.label == "More settings")
    assert {number.label for number in more.number_input} >= {"Epochs", "Batch size", "Learning rate", "Seed"}


def test_a_start_that_fails_says_why(home, monkeypatch):
    def refuse(settings, name, *, queue, owner):
        raise RunError("The disk is full: free some space.")

    monkeypatch.setattr(runs_start, "start_run", refuse)
    at = open_page()
    button(at, "Start training").click().run()
    assert [error.value for error in at.error] == ["The disk is full: free some space."]


def test_a_live_run_is_found_and_controlled(home):
    path = write_run(home, "busy", "running")
    at = open_page()
    text = words(at)
    assert "busy" in text and "training" in text and "**busy** (training) is ahead" in text
    assert {"Training": "62.5 %", "Validation": "45.0 %", "Images per second": "432", "Learning rate": "0.002"} == {
        metric.label: metric.value for metric in at.metric
    }
    guesses = next(part.proto.body for part in at.get("html") if 'class="guesses"' in part.proto.body)
    assert "<b>cat</b>" in guesses and "✓ correct" in guesses and "✗ airplane" in guesses
    assert f'tensorboard --logdir "{path / "tensorboard"}"' in text
    assert "Queue this run" in labels(at) and "Start training" not in labels(at)
    button(at, "Pause").click().run()
    at.number_input(key="train_rate_busy").set_value(0.01).run()
    button(at, "Set").click().run()
    at.button(key="train_stop").click().run()
    assert letters(path) == ["pause", "set-lr"]
    at.button(key="train_stop_yes").click().run()
    assert letters(path) == ["pause", "set-lr", "stop"] and not at.exception


def test_a_queued_run_says_who_is_ahead(home):
    write_run(home, "first", "running")
    write_run(home, "second", "queued", epochs=0)
    at = open_page(run="second")
    assert "queued" in words(at) and "Pause" not in labels(at) and "Stop" in labels(at)


@pytest.mark.parametrize(
    ("state", "said", "offered"),
    [
        ("failed", "The loss became nan", "Continue"),
        ("stopped", "stopped", "Continue"),
        ("finished", "finished", "Close"),
    ],
)
def test_ended_runs(home, state, said, offered):
    write_run(home, "ended", state, message="The loss became nan" if state == "failed" else "")
    at = open_page(run="ended")
    assert said in words(at) and offered in labels(at) and "Pause" not in labels(at)
    assert ("Continue" in labels(at)) == (state != "finished")


def test_an_interrupted_run_is_resumed(home, monkeypatch):
    path = write_run(home, "cut", "running")
    status = json.loads((path / "status.json").read_text()) | {"pid_started": 1.0}
    (path / "status.json").write_text(json.dumps(status))
    resumed = []
    monkeypatch.setattr(runs_start, "resume_run", lambda name, **how: resumed.append((name, how)))
    at = open_page(run="cut")
    assert "Its process is gone" in words(at)
    button(at, "Continue").click().run()
    assert resumed == [("cut", {"epochs": None, "learning_rate": None, "queue": False})]


def test_a_run_that_lost_its_way_continues_at_another_rate(home, monkeypatch):
    write_run(home, "lost", "failed", message="The loss became nan in epoch 3, step 1")
    resumed = []
    monkeypatch.setattr(runs_start, "resume_run", lambda name, **how: resumed.append((name, how)))
    at = open_page(run="lost")
    rate = default_settings("seed-cnn", "quick").learning_rate
    assert at.number_input(key="train_rate_lost").value == pytest.approx(rate / 3, rel=0.01)
    at.number_input(key="train_rate_lost").set_value(0.0005).run()
    button(at, "Continue at this rate").click().run()
    assert resumed == [("lost", {"epochs": None, "learning_rate": 0.0005, "queue": False})] and not at.exception


def test_a_finished_run_gets_more_epochs(home, monkeypatch):
    write_run(home, "whole", "finished")
    resumed = []
    monkeypatch.setattr(runs_start, "resume_run", lambda name, **how: resumed.append((name, how)))
    at = open_page(run="whole")
    assert next(item for item in at.number_input if item.label == "Epochs in all").value == 4
    text = words(at)
    assert "train --resume whole --epochs 6" in text and "train --start-from whole --network seed-cnn" in text
    button(at, "Add epochs").click().run()
    assert resumed == [("whole", {"epochs": 4, "learning_rate": None, "queue": False})] and not at.exception


def test_doubts_about_the_data_stand_above_the_curves(home):
    path = write_run(home, "odd", "running", epochs=1)
    assert "Red and blue" not in words(open_page(run="odd"))
    status = json.loads((path / "status.json").read_text())
    (path / "status.json").write_text(json.dumps(status | {"doubts": "This may not be CIFAR-10. Red and blue …"}))
    at = open_page(run="odd")
    assert [item.value for item in at.warning] == ["This may not be CIFAR-10. Red and blue …"]


def test_an_address_of_no_run(home):
    for name in ("../../etc/passwd", "x" * 300):
        at = open_page(run=name)
        assert "There is no run named" in words(at) and "Start training" in labels(at)
        assert "went wrong" not in words(at)


@pytest.mark.skipif(os.name == "nt", reason="needs a path below a file")
def test_a_folder_of_runs_that_cannot_be_used_is_said_once(home, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path / "file"))
    at = open_page()
    assert words(at).count("can't be used: Not a directory. Set CIFAR_LAB_RUNS") == 1 and "went wrong" not in words(at)


def test_compare_rename_delete(home):
    write_run(home, "one")
    write_run(home, "three")
    at = open_page()
    assert "Compare" in words(at) and at.multiselect(key="train_compare").value == ["three", "one"]
    table = at.dataframe[-1].value
    assert list(table.columns) == ["three", "one"] and list(table.index) == ["seed"]
    at.selectbox(key="train_chosen").set_value("three").run()
    at.button(key="train_rename").click().run()
    at.text_input(key="train_new_name").set_value("one").run()
    at.button(key="train_rename_yes").click().run()
    assert "exists already" in words(at)
    at.text_input(key="train_new_name").set_value("drei").run()
    at.button(key="train_rename_yes").click().run()
    assert {run.name for run in list_runs()} == {"one", "drei"}
    at.selectbox(key="train_chosen").set_value("one").run()
    at.button(key="train_delete").click().run()
    assert os.path.isdir(home / "one")
    at.button(key="train_delete_yes").click().run()
    assert [run.name for run in list_runs()] == ["drei"] and not at.exception


def test_a_live_run_is_not_deleted(home):
    write_run(home, "busy", "running")
    at = open_page()
    assert at.button(key="train_delete").disabled and at.button(key="train_rename").disabled


def test_a_double_click_starts_one(home, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_MAX_RUNS", "5")
    calls = []

    def start(settings, name, *, queue, owner):
        calls.append(name)
        write_run(home, f"run-{len(calls)}", "starting", epochs=0)
        return f"run-{len(calls)}"

    monkeypatch.setattr(runs_start, "start_run", start)
    at = open_page()
    button(at, "Start training").click().run()
    button(at, "Start training").click().run()
    assert len(calls) == 1


def test_a_setting_of_the_server_that_makes_no_sense(home, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_MAX_RUNS", "many")
    assert "CIFAR_LAB_MAX_RUNS is 'many'" in words(open_page())

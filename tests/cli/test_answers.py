"""`classify`, `evaluate` and `blend` as a person or a script calls them."""

import csv
import io
import itertools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pillow_heif
import pytest
from click.testing import CliRunner
from helpers import REPOSITORY
from PIL import Image

from cifar_model.__main__ import main
from cifar_model.answering.classifier import Classifier
from cifar_model.classes import CLASS_NAMES
from cifar_model.data.cache import load_cifar10
from cifar_model.pictures.fit import load_image
from cifar_model.pictures.mix import blend, sweep
from cifar_model.storage import assets_dir
from cifar_model.trust.metrics import confusion_matrix

SAMPLES = assets_dir() / "samples"


@pytest.fixture(scope="module")
def classifier(random_model):
    return Classifier(random_model)


@pytest.fixture(scope="module")
def call(random_model):
    """Run a command with the random model: exit code, stdout, stderr."""

    def run(*arguments, model=random_model):
        options = () if model is None else ("--model", str(model))
        result = CliRunner().invoke(main, [*map(str, arguments), *options])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def album(tmp_path):
    folder = tmp_path / "album"
    (folder / "deep" / "er").mkdir(parents=True)
    shutil.copy(SAMPLES / "cat.webp", folder / "cat.webp")
    shutil.copy(SAMPLES / "dog.webp", folder / "deep" / "er" / "dog, the \u00e9lder.webp")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def test_classify_prints_a_table(call, album):
    code, out, err = call("classify", album, "--top", 2)
    assert (code, err) == (0, "Left out, not pictures: 1 (notes.txt).\n")
    header, *lines = out.splitlines()
    assert header.split() == ["FILE", "CLASS", "PROBABILITY", "RUNNERS-UP"]
    assert len(lines) == 2
    assert all(line.count("%") == 2 for line in lines)


def test_classify_answers_the_rest_when_files_are_unreadable(call, album):
    (album / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    (album / "empty.jpg").write_bytes(b"")
    code, out, err = call("classify", album, album / "gone.png")
    assert code == 1
    assert "cat.webp" in out and "broken" not in out
    assert "Answered: 2. Can't be read: 3" in err
    assert all(name in err for name in ("broken.png", "empty.jpg", "gone.png"))


def test_classify_json_has_the_package_s_digits(call, album, classifier):
    (album / "empty.jpg").write_bytes(b"")
    code, out, _ = call("classify", album, "--json")
    result = json.loads(out)
    assert code == 1
    assert [error["file"] for error in result["errors"]] == [str(album / "empty.jpg")]
    assert len(result["answers"]) == 2
    pixels = np.stack([load_image(answer["file"]) for answer in result["answers"]])
    for answer, expected in zip(result["answers"], classifier.predict(pixels), strict=True):
        assert list(answer["probabilities"]) == list(CLASS_NAMES)
        assert list(answer["probabilities"].values()) == expected.tolist()
        assert answer["class"] == CLASS_NAMES[expected.argmax()]
        assert answer["probability"] == float(expected.max())


def test_classify_csv_to_a_file_beside_the_table(call, album, classifier, tmp_path):
    code, out, _ = call("classify", album, "--csv", tmp_path / "answers.csv")
    assert code == 0 and "FILE" in out
    assert (tmp_path / "answers.csv").read_bytes().startswith(b"\xef\xbb\xbffile,")  # or spreadsheets show "Ã©lder"
    with open(tmp_path / "answers.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = classifier.predict(np.stack([load_image(row["file"]) for row in rows]))
    assert [[float(row[name]) for name in CLASS_NAMES] for row in rows] == expected.tolist()


def test_content_decides_what_is_classified(call, tmp_path):
    jpeg, png = io.BytesIO(), io.BytesIO()
    Image.open(SAMPLES / "frog.webp").convert("RGB").save(jpeg, "JPEG")
    Image.open(SAMPLES / "truck.webp").convert("RGB").resize((40, 40)).save(png, "PNG")
    (tmp_path / "IMG_0003.HEIC").write_bytes(jpeg.getvalue())
    (tmp_path / "IMG_0004").write_bytes(png.getvalue())
    (tmp_path / "IMG_0001.HEIC").write_bytes(heic(SAMPLES / "horse.webp"))
    (tmp_path / "._IMG_0001.HEIC").write_bytes(b"\0\5\x16\7")
    (tmp_path / "clip.mov").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(30))
    code, out, err = call("classify", tmp_path, "--json")
    result = json.loads(out)
    assert code == 0 and [os.path.basename(answer["file"]) for answer in result["answers"]] == [
        "IMG_0001.HEIC", "IMG_0003.HEIC", "IMG_0004",
    ]  # fmt: skip
    assert result["errors"] == [] and result["left_out"] == [str(tmp_path / "clip.mov")]
    assert "Left out, not pictures: 1 (clip.mov)." in err and "._" not in out + err


def heic(path) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.open(path).convert("RGB")).save(file, quality=80)
    return file.getvalue()


def test_how_a_picture_was_read_is_told_beside_its_answer(call, tmp_path):
    values = np.linspace(0, 4095, 1024).reshape(32, 32).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "twelve.png")
    _, out, _ = call("classify", tmp_path / "twelve.png")
    assert "12 of 16 bits" in out
    _, out, _ = call("classify", tmp_path / "twelve.png", SAMPLES / "cat.webp", "--json")
    noted, plain = json.loads(out)["answers"]
    assert "12 of 16 bits" in noted["notes"][0] and "notes" not in plain


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_a_mix_that_was_saved_answers_as_the_mix_did(call, tmp_path, suffix):
    file = tmp_path / f"mix.{suffix}"
    _, out, _ = call("blend", "deer", "horse", "--ratio", 0.6, "--out", file, "--json")
    before = json.loads(out)["probabilities"]
    _, out, _ = call("classify", file, "--json")
    assert json.loads(out)["answers"][0]["probabilities"] == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("option", ["--sheet", "--csv"])
def test_a_missing_folder_is_told_before_the_work(call, album, tmp_path, option):
    name = f"x.{'csv' if option == '--csv' else 'png'}"
    code, out, err = call("classify", album, option, tmp_path / "nowhere" / name, model="no such model")
    assert code == 1 and out == "" and "there is no folder" in err and "no such model" not in err


def test_classify_csv_to_stdout(call, album):
    code, out, _ = call("classify", album, "--csv", "-")
    rows = list(csv.reader(io.StringIO(out)))
    assert code == 0 and rows[0] == ["file", "class", "probability", *CLASS_NAMES] and len(rows) == 3


def test_csv_never_overwrites_a_picture(call, album):
    picture = album / "cat.webp"
    before = picture.read_bytes()
    for target in (picture, album):
        code, out, err = call("classify", album, "--csv", target)
        assert (code, out) == (2, "") and f"Pictures stand before --csv: {target} --csv" in err
    assert picture.read_bytes() == before


def test_classify_draws_a_sheet(call, album, tmp_path):
    code, _, _ = call("classify", album, "--sheet", tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    enlarged = load_image(album / "cat.webp").repeat(4, axis=0).repeat(4, axis=1)
    assert code == 0 and (pixels[8:136, 8:136] == enlarged).all()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("EMPTY",), 2, "No pictures in"),
        ((), 2, "Name at least one picture"),
        (("EMPTY", "--top", 11), 2, "--top"),
        (("ALBUM", "--json", "--csv", "-"), 2, "can't both be printed"),
        (("ALBUM", "--sheet", "x.txt"), 2, "x.txt"),
        (("ALBUM", "--csv", "nowhere/x.csv"), 1, "Can't write"),
        (("ALBUM", "--ray"), 2, "name the folder for the answers: --out DIR"),
        (("ALBUM", "--out", "x"), 2, "--out can be had only with --ray"),
        (("ALBUM", "--shard", 5, "--workers", 1), 2, "--shard, --workers can be had only with --ray"),
        (("ALBUM", "--ray", "--out", "x", "--sheet", "x.png", "--json"), 2, "so --json, --sheet can't be had"),
        (("ALBUM", "--ray", "--out", "x", "--top", 3), 2, "so --top can't be had"),
        (("ALBUM", "--ray", "head", "--out", "x"), 2, "'head' is no address of a Ray cluster"),
        (("--ray", "ALBUM", "--out", "x"), 2, "name it before --ray"),
        (("s3://bucket/folder",), 2, "s3://bucket/folder is an address: give --ray and --out DIR"),
        (("EMPTY", "--ray", "--out", "x"), 2, "No pictures in"),
        (("EMPTY/*.png", "--ray", "--out", "x"), 2, "nothing lies there"),
        (("ALBUM", "--ray", "--out", "ALBUM"), 2, "holds other files"),
        pytest.param(
            ("ALBUM", "--ray", "127.0.0.1:1", "--out", "x"),
            1,
            "No Ray cluster at 127.0.0.1:1: Connection refused",
            marks=pytest.mark.ray,
        ),
    ],
)
def test_classify_misused(call, album, tmp_path, monkeypatch, arguments, code, message):
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": tmp_path / "empty", "ALBUM": album}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))  # one is told only after its model was compiled
    found, out, err = call("classify", *(places.get(a, a) for a in arguments))
    assert found == code and message in err and out == "" and not (tmp_path / "x").exists()


def test_an_unknown_model_is_told_before_anything_is_printed(call, album):
    code, out, err = call("classify", album, "--json", model="no-such-net")
    assert (code, out) == (1, "") and err.startswith("Error: No model 'no-such-net'")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
def test_names_that_are_no_text_do_no_harm(call, tmp_path):
    name = os.fsdecode(b"caf\xe9\x1b[31m.webp")
    shutil.copy(SAMPLES / "cat.webp", tmp_path / name)
    code, out, _ = call("classify", tmp_path)
    assert code == 0 and "\x1b" not in out and "caf\ufffd" in out
    for option in ("--json", "--csv"):
        code, out, _ = call("classify", tmp_path, option)
        assert code == 0 and "caf" in out


def test_evaluate_agrees_with_the_metrics(call, tiny_cifar10, classifier, tmp_path):
    code, out, err = call("evaluate", "--data", tiny_cifar10, "--json", "--chart", tmp_path / "confusion.svg")
    assert (code, err) == (0, "")
    result = json.loads(out)
    _, (images, labels) = load_cifar10(tiny_cifar10)
    probabilities = classifier.predict(images)
    answers = probabilities.argmax(axis=1)
    assert (result["images"], result["split"]) == (100, "test")
    assert result["accuracy"] == np.mean(answers == labels)
    assert result["loss"] == pytest.approx(-np.log(probabilities[np.arange(100), labels]).mean(), rel=1e-5)
    assert result["confusion"] == confusion_matrix(labels, answers).tolist()
    assert result["classes"]["cat"]["recall"] == pytest.approx(np.mean(answers[labels == 3] == 3))
    assert (tmp_path / "confusion.svg").is_file()


def test_evaluate_prints_tables(call, tiny_cifar10):
    code, out, _ = call("evaluate", "--data", tiny_cifar10, "--split", "train", "--limit", 50)
    assert code == 0
    assert "50 train images" in out and "accuracy" in out and "Confusion matrix" in out
    _, confusion = out.split("Confusion matrix")
    rows = {line.split()[0]: line.split()[1:] for line in confusion.splitlines()[2:]}
    assert list(rows) == list(CLASS_NAMES) and sum(int(count) for row in rows.values() for count in row) == 50


def test_evaluate_without_data(call, tmp_path):
    code, out, err = call("evaluate", "--data", tmp_path / "nowhere")
    assert (code, out) == (1, "") and err.startswith("Error: ")


# The mixes of the original project: shares of the first picture.
COMPLEX = [("cat", "dog", 0.4), ("deer", "horse", 0.6)]


def samples(*names):
    return [load_image(SAMPLES / f"{name}.webp") for name in names]


@pytest.mark.parametrize(("a", "b", "ratio"), COMPLEX)
def test_complex_mixes_have_the_package_s_digits(call, classifier, a, b, ratio):
    code, out, _ = call("blend", a, b, "--ratio", ratio, "--json", "--sweep")
    result = json.loads(out)
    first, second = samples(a, b)
    expected = classifier.predict(blend(first, second, ratio)[None])[0]
    assert code == 0
    assert list(result["probabilities"].values()) == expected.tolist()
    assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert [point["ratio"] for point in result["sweep"]] == [i / 100 for i in range(101)]


@pytest.mark.parametrize(("a", "b", "ratio"), COMPLEX)
def test_complex_mixes_by_lab_net_are_charted(call, tmp_path, a, b, ratio):
    if not (assets_dir() / "models" / "lab-net" / "model.keras").is_file():
        pytest.skip("needs assets/models/lab-net")
    chart = tmp_path / "chart.svg"
    code, out, _ = call("blend", a, b, "--ratio", ratio, "--json", "--sweep", "--chart", chart, model=None)
    result = json.loads(out)
    assert code == 0 and chart.stat().st_size > 5_000
    winners = [max(point["probabilities"], key=point["probabilities"].get) for point in result["sweep"]]
    # The whole way leads from what the one picture gets on its own to what the other one gets.
    unmixed = Classifier("lab-net").predict(np.stack(samples(b, a))).argmax(1)
    assert [winners[0], winners[-1]] == [CLASS_NAMES[i] for i in unmixed]
    changes = sum(before != after for before, after in itertools.pairwise(winners))
    assert len(result["winner_changes"]) == changes


def test_blend_prints_all_ratios_as_csv(call, classifier):
    code, out, _ = call("blend", "cat", SAMPLES / "dog.webp", "--sweep", "--mode", "halves")
    rows = list(csv.reader(io.StringIO(out)))
    expected = classifier.predict(sweep(*samples("cat", "dog"), mode="halves"))
    assert code == 0 and rows[0] == ["ratio", *CLASS_NAMES]
    assert [float(row[0]) for row in rows[1:]] == [i / 100 for i in range(101)]
    assert [[float(cell) for cell in row[1:]] for row in rows[1:]] == expected.tolist()


def test_blend_prints_ten_classes_and_a_summary(call):
    code, out, err = call("blend", "cat", "dog", "--ratio", "0.4")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("40 % cat + 60 % dog")
    assert sorted(line.split()[0] for line in lines[2:12]) == sorted(CLASS_NAMES)
    assert "softmax is not a mixture estimate" in lines[12]


def test_blend_writes_picture_and_page(call, tmp_path):
    mix, page = tmp_path / "mix.png", tmp_path / "mix.html"
    code, _, _ = call("blend", "deer", "horse", "--ratio", "0.6", "--out", mix, "--chart", page)
    expected = blend(*samples("deer", "horse"), 0.6).repeat(8, axis=0).repeat(8, axis=1)
    assert code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(mix)), expected)
    assert "Share of deer" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("cat", "dog", "--ratio", "40"), 2, "--ratio"),
        (("cat", "dog", "--ratio", "nan"), 2, "nan"),
        (("cat", "dog", "--mode", "stir"), 2, "stir"),
        (("cat", "unicorn"), 1, "sample photographs go by: airplane"),
        (("cat", "dog", "--chart", "x.pdf"), 2, "x.pdf"),
        (("cat", "dog", "--out", "nowhere/x.png"), 1, "Can't write"),
        (("cat",), 2, "Name two pictures"),
    ],
)
def test_blend_misused(call, arguments, code, message):
    found, out, err = call("blend", *arguments)
    assert found == code and message in err and out == ""


def test_nothing_but_the_answer_reaches_the_terminal(random_model):
    """In a process of its own: TensorFlow's start-up lines are written below Python."""
    result = subprocess.run(
        [sys.executable, "-m", "cifar_model", "classify", str(SAMPLES / "cat.webp")]
        + ["--model", str(random_model), "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(json.loads(result.stdout)["answers"]) == 1

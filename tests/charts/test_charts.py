"""Charts hold the numbers they were given and say them in words; files are whole or absent."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cifar_model.charts.beliefs import sweep_chart
from cifar_model.charts.learning import curve_chart
from cifar_model.charts.save import save_chart
from cifar_model.charts.scores import confusion_chart, reliability_chart, scope_chart
from cifar_model.charts.sheets import contact_sheet, save_sheet
from cifar_model.charts.sweeps import setting_chart
from cifar_model.classes import CLASS_COLORS
from cifar_model.errors import LabError, SettingsError
from cifar_model.storage import replacing
from cifar_model.text import percent

BELIEF = np.array([0.02, 0.01, 0.03, 0.6, 0.05, 0.25, 0.01, 0.01, 0.01, 0.01])


@pytest.fixture(scope="module")
def sweep():
    """Dog gives way to frog near 28 %, frog to cat near 60 %."""
    share = np.linspace(0, 1, 101)[:, None]
    logits = np.full((101, 10), -3.0)
    logits[:, [5]] = 3 - 6 * share
    logits[:, [3]] = 6 * share - 2
    logits[:, [6]] = 2 - 20 * (share - 0.45) ** 2
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def history():
    training = {"loss": [2.0, 1.5], "accuracy": [0.3, 0.5]}
    validation = {"val_loss": [1.9, 1.6], "val_accuracy": [0.31, 0.52]}
    return pd.DataFrame({"epoch": [1, 2], **training, **validation})


@pytest.fixture(scope="module")
def charts(sweep, history):
    return {
        "sweep": sweep_chart(sweep, names=("cat", "dog"), ratio=0.4),
        "curves": curve_chart(history),
        "confusion": confusion_chart(np.eye(10, dtype=int) * 7 + 1),
    }


def test_charts_suit_both_themes_and_have_alternative_text(charts):
    for chart in charts.values():
        spec = chart.to_dict()
        assert spec["background"] == "transparent"
        assert len(spec["description"]) > 30


def rows(chart):
    return [row for data in chart.to_dict()["datasets"].values() for row in data]


def test_every_class_has_its_colour(charts):
    scale = charts["sweep"].to_dict()["layer"][0]["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == CLASS_COLORS


def test_sweep_marks_where_the_winner_changes(charts, sweep):
    text = charts["sweep"].to_dict()["description"]
    assert "dog wins at 0 %, cat at 100 %" in text
    assert re.search(r"at \d+ % the winner changes from dog to frog; at \d+ % .* from frog to cat", text)
    labels = {row["label"]: row["share"] for row in rows(charts["sweep"]) if "label" in row}
    winners = sweep.argmax(axis=1)
    expected = [float(i) for i in range(1, 101) if winners[i] != winners[i - 1]]
    assert sorted(labels.values()) == pytest.approx(expected)
    lines = [row for row in rows(charts["sweep"]) if "probability" in row]
    assert len(lines) == 1010
    cat_at_40 = [row["probability"] for row in lines if row["class"] == "cat" and row["share"] == 40]
    assert cat_at_40 == [sweep[40, 3]]


def test_a_sweep_without_a_change():
    p = np.tile(BELIEF, (101, 1))
    assert "never changes" in sweep_chart(p).to_dict()["description"]


def test_curves_differ_in_data_alone(history):
    def without_data(frame):
        spec = curve_chart(frame).to_dict()
        del spec["datasets"], spec["data"]
        return spec

    assert without_data(history) == without_data(history[:1]) == without_data(history[:0])


def test_curves_of_no_epoch_are_drawn(history, tmp_path):
    save_chart(curve_chart(history[:0]), tmp_path / "none.png")
    assert (tmp_path / "none.png").stat().st_size > 1000


def test_confusion_names_the_commonest_error():
    matrix = np.eye(10, dtype=int) * 90
    matrix[3, 5] = 10
    chart = confusion_chart(matrix)
    assert "900 of 910" in chart.to_dict()["description"]
    assert "cat taken for dog (10 times)" in chart.to_dict()["description"]
    assert max(row["share"] for row in rows(chart)) == 1
    empty = confusion_chart(np.zeros((10, 10), int))
    assert "0 of 0" in empty.to_dict()["description"]
    assert {row["share"] for row in rows(empty)} == {0}


@pytest.mark.parametrize("name", ["sweep", "curves", "confusion"])
def test_charts_are_saved_on_white(charts, name, tmp_path):
    save_chart(charts[name], tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        assert image.width > 600
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    save_chart(charts[name], tmp_path / "chart.SVG")
    assert ElementTree.parse(tmp_path / "chart.SVG").getroot().tag.endswith("svg")


def test_html_needs_no_network(charts, tmp_path):
    save_chart(charts["sweep"], tmp_path / "chart.html")
    page = (tmp_path / "chart.html").read_text(encoding="utf-8")
    assert "Share of cat in the mix" in page
    loaded = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            loaded.extend(value for name, value in attributes if name in ("src", "href"))

    Tags().feed(page)
    assert loaded == []
    assert "cdn.jsdelivr" not in page and "unpkg" not in page
    assert '<html lang="en">' in page and "<title>Line chart of the ten class probabilities" in page


def test_a_chart_can_t_be_saved_as_anything(charts, tmp_path):
    with pytest.raises(SettingsError, match="chart.gif"):
        save_chart(charts["curves"], tmp_path / "chart.gif")
    with pytest.raises(LabError, match="Can't write"):
        save_chart(charts["curves"], tmp_path / "nowhere" / "chart.png")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: sweep_chart(np.ones((101, 9))),
        lambda: sweep_chart(np.ones((1, 10))),
        lambda: sweep_chart(np.ones((101, 10)), ratio=1.1),
        lambda: curve_chart(pd.DataFrame({"epoch": [1]})),
        lambda: curve_chart(pd.DataFrame({"epoch": [1], "accuracy": [1.0]}), "speed"),
        lambda: confusion_chart(np.ones((3, 3))),
        lambda: contact_sheet(np.zeros((0, 32, 32, 3), np.uint8), []),
        lambda: contact_sheet(np.zeros((2, 32, 32, 3), np.uint8), ["one"]),
    ],
)
def test_wrong_arrays_are_refused(draw):
    with pytest.raises(SettingsError, match="Received"):
        draw()


def test_nan_probabilities_are_an_error_and_no_chart():
    with pytest.raises(LabError, match="not finite"):
        sweep_chart(np.full((101, 10), np.nan))


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0, "< 0.1 %"), (0.0004, "< 0.1 %"), (0.034, "3.4 %"), (0.0996, "10 %"), (0.55, "55 %")]
    + [(0.994, "99.4 %"), (0.99999, "99.9 %"), (1, "100 %")],
)
def test_percent(probability, text):
    assert percent(probability) == text


def test_contact_sheet_shows_each_pixel_unsmoothed():
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    sheet = contact_sheet(images, [f"picture {i}\ncat 93 %" for i in range(7)], columns=3, scale=4)
    pixels = np.asarray(sheet)
    # Picture 4 stands in row 1, column 1: find it again, each of its pixels a square of 4 × 4.
    enlarged = images[4].repeat(4, axis=0).repeat(4, axis=1)
    column = pixels[:, 8 + 128 + 8 :][:, :128]
    tops = [y for y in range(len(column) - 128) if (column[y : y + 128] == enlarged).all()]
    assert len(tops) == 1
    assert (pixels[0, 0] == 255).all()
    assert sheet.width == 8 + 3 * (128 + 8)


def test_captions_stay_below_their_picture():
    image = np.full((2, 32, 32, 3), 255, np.uint8)
    sheet = np.asarray(contact_sheet(image, ["x" * 500, ""], columns=2))
    assert (sheet[140:, 8:136] < 128).any()  # the caption is there
    assert (sheet[140:, 138:] == 255).all()  # and not below the second picture


def test_reliability_before_and_after_with_the_gap_in_words():
    bins = np.array([[0.5, 0.4, 100], [0.9, 0.9, 300]])
    chart = reliability_chart(bins, bins - [0, 0.1, 0])
    assert "The mean gap is 2.5 percentage points." in chart.description  # of the answers as they are given
    rows = chart.layer[1].data
    assert len(rows) == 4 and set(rows["answers"]) == {"without calibration", "as answered"}
    assert len(reliability_chart(bins).layer[1].data) == 2
    for wrong in (np.zeros((0, 3)), np.zeros((3, 2))):
        with pytest.raises(SettingsError, match="Reliability bins"):
            reliability_chart(wrong)


def test_scope_histograms_are_shares_of_their_own_pictures():
    chart = scope_chart(np.array([-2.0, 0, 1, 2]), [0, 10, 30], [6, 2, 0], 0.0)
    rows = chart.layer[0].data
    assert rows["share"].tolist() == [0, 0.25, 0.75, 0.75, 0.25, 0]
    assert "75 % of the images that show nothing lie below it" in chart.description
    with pytest.raises(SettingsError, match="one edge more"):
        scope_chart([0, 1], [1, 2], [3], 0)


def test_sheets_are_saved_as_pictures(tmp_path):
    sheet = contact_sheet(np.zeros((1, 32, 32, 3), np.uint8), ["black"])
    for name in ("sheet.png", "sheet.jpg", "sheet.webp"):
        save_sheet(sheet, tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.size == sheet.size
    with pytest.raises(SettingsError, match="sheet.pdf"):
        save_sheet(sheet, tmp_path / "sheet.pdf")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    for wrong in (tmp_path, tmp_path / "nowhere" / "file.txt", path / "file.txt"):
        with pytest.raises(LabError, match="Can't write"), replacing(wrong):
            pytest.fail("the block must not run")


def test_a_full_disk_is_told(tmp_path):
    with pytest.raises(LabError, match="No space left"), replacing(tmp_path / "file"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def trials():
    return pd.DataFrame(
        {
            "run": ["s-01", "s-02", "s-03", "s-04"],
            "state": ["finished", "finished", "finished", "stopped"],
            "accuracy": [0.5, 0.7, 0.8125, 0.1],
            "learning_rate": [1e-3, 1e-3, 1e-1, 1e-1],
            "optimizer": ["adam", "sgd", "adam", "sgd"],
            "seed": [0, 1, 2, 3],
            "dropout": [0.1, 0.2, 0.3, 0.4],
        }
    )


@pytest.mark.parametrize(
    ("setting", "kind", "scale", "layers"),
    [
        ("learning_rate", "quantitative", "log", 2),
        ("dropout", "quantitative", "linear", 1),  # no value twice: no mean
        ("optimizer", "ordinal", None, 2),
        ("seed", "ordinal", None, 1),
    ],
)
def test_what_a_setting_does(trials, setting, kind, scale, layers):
    chart = setting_chart(trials, setting)
    spec = chart.to_dict()
    assert len(spec["layer"]) == layers and spec["background"] == "transparent"
    x = spec["layer"][-1]["encoding"]["x"]
    assert x["type"] == kind and x.get("scale", {}).get("type") == scale
    assert "The best: s-03, 81.2 %" in spec["description"] and setting.replace("_", " ") in spec["description"]
    assert [(row["run"], row["accuracy"]) for row in rows(chart)] == list(
        zip(trials["run"], trials["accuracy"], strict=True)
    )
    tips = {tip["field"] for tip in spec["layer"][-1]["encoding"]["tooltip"]}
    assert tips == set(trials.columns)


def test_the_mean_is_that_of_finished_trials(trials):
    means = setting_chart(trials, "learning_rate").to_dict()["layer"][0]
    assert means["transform"] == [{"filter": "datum.state === 'finished'"}]
    assert means["encoding"]["y"]["aggregate"] == "mean"


def test_many_whole_numbers_get_an_axis_of_their_own():
    seeds = range(40)
    trials = pd.DataFrame({"run": map(str, seeds), "state": "finished", "accuracy": 0.5, "seed": seeds})
    assert setting_chart(trials, "seed").to_dict()["layer"][0]["encoding"]["x"]["type"] == "quantitative"


def test_a_chart_of_no_trials_is_refused(trials):
    for broken, setting in ((trials[:0], "seed"), (trials, "epochs"), (trials.drop(columns="state"), "seed")):
        with pytest.raises(SettingsError, match="Trials have the columns run, state, accuracy and"):
            setting_chart(broken, setting)

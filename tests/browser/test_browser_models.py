"""The Models page in a real browser: a model with made-up answers to generated test images, and a real network."""

import re
import shutil
import zipfile

import numpy as np
import pytest
from helpers import write_model

from cifar_model.answering.classifier import Classifier
from cifar_model.classes import CLASS_NAMES
from cifar_model.data.cache import load_cifar10
from cifar_model.models.answers import read_answers
from cifar_model.models.card import load_card
from cifar_model.models.folder import find_model
from cifar_model.models.layout import MODEL_FILE
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir
from tests.browser.looking import needs_no_sideways_scrolling, see, see_number

MODEL = "made-up"
PATIENCE = 180_000  # ms, for a machine that does other things too


@pytest.fixture(scope="module")
def server(launch_server, tiny_cifar10, tmp_path_factory):
    """An app of this module's own, with the generated pictures as its data."""
    folder = tmp_path_factory.mktemp("models-app")
    _, (images, labels) = load_cifar10(tiny_cifar10)
    for seed, name in enumerate((MODEL, "another")):
        write_model(folder / "runs" / name, np.asarray(labels), seed=seed, images=images)
        shutil.copy(assets_dir() / "models" / "seed-cnn" / MODEL_FILE, folder / "runs" / name)
    app = launch_server(folder, CIFAR10_DIR=str(tiny_cifar10))
    yield app
    app.stop()


@pytest.fixture(scope="module")
def answers(server):
    return read_answers(server.runs / MODEL)


@pytest.fixture
def opened(page, server):
    page.goto(f"{server.url}/models?model={MODEL}")
    see(cell(page, 0, 0), timeout=60_000)
    return page


def cell(page, truth: int, answer: int):
    what = (
        f"{CLASS_NAMES[truth]} recognised"
        if truth == answer
        else f"{CLASS_NAMES[truth]} taken for {CLASS_NAMES[answer]}"
    )
    return page.get_by_role("button", name=re.compile(f"^{what}: "))


def test_scores_of_the_bundled_models_are_there(page, server, wait_idle):
    page.goto(f"{server.url}/models?model=lab-net")
    metric = page.get_by_test_id("stMetric").filter(has_text="Test accuracy")
    accuracy = load_card(find_model("lab-net"))["scores"]["test_accuracy"]
    see(metric.get_by_text(f"{100 * accuracy:.1f} %"), timeout=60_000)
    page.get_by_text("Inside", exact=True).click()
    see(page.get_by_role("heading", name="What goes on inside the network?"))
    wait_idle(page, 120_000)
    see_number(page.get_by_test_id("stException"), 0)
    assert page.get_by_role("link", name="Models").first.is_visible()


def test_a_click_on_a_cell_shows_its_pictures(opened, answers):
    said = answers.probabilities.argmax(1)
    wrong = np.flatnonzero(said != answers.labels)
    truth, answer = int(answers.labels[wrong[-1]]), int(said[wrong[-1]])
    cell(opened, truth, answer).click()
    what = f"{CLASS_NAMES[truth]} taken for {CLASS_NAMES[answer]}"
    see(opened.get_by_role("heading", name=what))
    pictures = opened.get_by_role("group", name=f"Images: {what}").locator("img")
    pictures.first.wait_for(timeout=60_000)  # the pictures are decoded the first time
    see_number(pictures, ((answers.labels == truth) & (said == answer)).sum())
    looks = """async i => {
        await i.decode();
        return [getComputedStyle(i).imageRendering, i.naturalWidth, i.getBoundingClientRect().width > 60];
    }"""
    assert pictures.first.evaluate(looks) == ["pixelated", 32, True]
    opened.wait_for_url(f"**/models?model={MODEL}&show=confusion&cell={CLASS_NAMES[truth]}-{CLASS_NAMES[answer]}")

    opened.reload()
    see(opened.get_by_role("heading", name=what))
    see(cell(opened, truth, answer).and_(opened.locator("[aria-pressed=true]")))


def test_the_matrix_is_walked_with_the_arrow_keys(opened):
    start = opened.locator("button.cell[aria-pressed=true]")
    start.focus()
    label = start.get_attribute("aria-label")
    opened.keyboard.press("ArrowUp" if not label.startswith("airplane") else "ArrowDown")
    focused = opened.evaluate(
        "() => document.activeElement.shadowRoot?.activeElement?.ariaLabel ?? document.activeElement.ariaLabel"
    )
    assert focused and focused != label
    opened.keyboard.press("Enter")
    see(opened.get_by_role("heading", name=focused.split(":")[0]))


def test_a_mistake_opens_large_and_is_followed_through_the_network(opened):
    opened.get_by_text("Mistakes", exact=True).click()
    mistakes = opened.get_by_role("group", name="Most confident mistakes").locator("button.tile")
    mistakes.first.wait_for(timeout=60_000)
    mistakes.first.click()
    dialog = opened.get_by_role("dialog")
    see(dialog.get_by_text("Labelled"))
    see(dialog.get_by_label(f"Probabilities by {MODEL}"))
    dialog.get_by_role("button", name="Follow it through the network").click()
    dialog.wait_for(state="detached")
    tiles = opened.get_by_alt_text(re.compile("^conv3, channel"))
    tiles.first.wait_for(timeout=90_000)
    see_number(tiles, 16)


def test_two_models_and_the_pictures_on_which_they_disagree(page, server, answers):
    page.goto(f"{server.url}/models?model={MODEL},another")
    pictures = page.get_by_role("group", name="Images on which they disagree").locator("img")
    pictures.first.wait_for(timeout=60_000)
    other = read_answers(server.runs / "another").probabilities.argmax(1)
    only_first = (answers.probabilities.argmax(1) == answers.labels) & (other != answers.labels)
    see_number(pictures, min(18, only_first.sum()))


def test_a_model_is_taken_along_and_brought_in_again(page, server, tmp_path, wait_idle):
    page.goto(f"{server.url}/models?model={MODEL}&show=files")
    see(page.get_by_role("button", name="Prepare"), timeout=PATIENCE)
    page.get_by_role("combobox", name="Format").click()
    page.get_by_role("option", name="Keras 3", exact=True).click()
    wait_idle(page)
    page.get_by_role("button", name="Prepare").click()
    offered = page.get_by_role("button", name=f"Download {MODEL}-keras.zip")
    see(offered, timeout=PATIENCE)
    with page.expect_download() as download:
        offered.click()
    download.value.save_as(tmp_path / "taken.zip")
    with zipfile.ZipFile(tmp_path / "taken.zip") as archive:
        archive.extractall(tmp_path)
    file = tmp_path / f"{MODEL}-keras" / "model.keras"
    assert (file.parent / "classes.txt").read_text().split() == list(CLASS_NAMES)

    page.get_by_text("Bring a model", exact=True).click()
    page.locator(".st-key-models_bring_file input[type=file]").set_input_files(file)
    page.get_by_role("textbox", name="Name").fill("brought")
    page.get_by_role("textbox", name="Name").press("Enter")
    wait_idle(page)
    page.get_by_role("button", name="Bring it in").click()
    see(page.get_by_text("brought is here now"), timeout=PATIENCE)
    page.wait_for_url("**model=brought**")
    picture = np.asarray(load_image(assets_dir() / "samples" / "dog.webp"))[None]
    before, after = (Classifier(server.runs / name, calibrated=False).predict(picture) for name in (MODEL, "brought"))
    assert np.abs(before - after).max() < 1e-6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_needs_no_sideways_scrolling(new_page, server, wait_idle, scheme):
    page = new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto(f"{server.url}/models?model={MODEL}")
    see(cell(page, 0, 0), timeout=60_000)
    wait_idle(page, 120_000)
    needs_no_sideways_scrolling(page)
    matrix = page.get_by_role("table", name=re.compile("^Confusion matrix"))
    assert matrix.evaluate("t => t.scrollWidth <= t.parentElement.clientWidth")
    see_number(matrix.get_by_role("button"), 100)

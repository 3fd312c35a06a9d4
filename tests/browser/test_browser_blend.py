"""Blend in a real browser, against the real server and model; the oracle is the command line's sweep."""

import csv
import io
import json
import re
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from cifar_model.classes import CLASS_NAMES
from cifar_model.pictures.fit import load_image
from cifar_model.pictures.mix import blend
from cifar_model.storage import assets_dir
from cifar_model.text import percent
from tests.browser.first_screens import SIZES
from tests.browser.looking import see, see_number, see_pixels, see_text, until, wait_for_silence

SAMPLES = assets_dir() / "samples"
pytestmark = pytest.mark.skipif(
    not (assets_dir() / "models" / "lab-net").exists(), reason="no bundled model in this checkout"
)

LIVE = """root => ({
    text: root.querySelector('.recipe').textContent,
    values: [...root.querySelectorAll('.answer .value')].map(v => v.textContent),
    marker: Number(root.querySelector('.marker').getAttribute('x1')),
    pixels: [...root.querySelector('.mix').getContext('2d').getImageData(0, 0, 32, 32).data],
})"""


@pytest.fixture(scope="module")
def sweep(command_line):
    """The command line's answers from 0 to 100 % cat, the rest dog: float (101, 10)."""
    text = command_line("blend", SAMPLES / "cat.webp", SAMPLES / "dog.webp", "--sweep")
    rows = list(csv.DictReader(io.StringIO(text)))
    return np.array([[float(row[name]) for name in CLASS_NAMES] for row in rows])


@pytest.fixture
def open_blend(page, server):
    """A function that opens a link to a blend and waits until its curve is complete."""

    def open_link(query="?model=lab-net"):
        page.goto(f"{server.url}/blend{query}")
        see(page.get_by_role("button", name="Sweep (CSV)"), timeout=180_000)
        see(page.locator(".gap").first.filter(has_text=" in"))
        return page

    return open_link


def test_drag_is_live_without_any_message_to_the_server(page, server, sweep):
    messages = []

    def listen(socket):
        socket.on("framesent", lambda frame: messages.append(frame))
        socket.on("framereceived", lambda frame: messages.append(frame))

    page.on("websocket", listen)
    page.goto(f"{server.url}/blend?a=cat&b=dog&ratio=0&model=lab-net")
    see(page.get_by_role("button", name="Sweep (CSV)"), timeout=180_000)
    see(page.locator(".gap").first.filter(has_text=" in"))
    see_text(page.locator("output.recipe"), "0 % cat + 100 % dog")
    slider = page.locator("input.ratio")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 14, y)
    page.mouse.down()
    wait_for_silence(page, messages)
    seen = []
    root = page.locator(".root:has(canvas.mix)")
    for step in range(1, 41):
        page.mouse.move(box["x"] + 14 + (box["width"] - 28) * step / 40, y)
        seen.append(root.evaluate(LIVE))
    assert not messages  # the whole way, while picture, bars and marker moved:
    page.mouse.up()

    a, b = load_image(SAMPLES / "cat.webp"), load_image(SAMPLES / "dog.webp")
    ratios = [int(state["text"].split(" %")[0]) for state in seen]
    assert ratios == sorted(ratios) and len(set(ratios)) == 40 and ratios[-1] == 100
    for ratio, state in zip(ratios, seen, strict=True):
        pixels = np.array(state["pixels"]).reshape(32, 32, 4)[..., :3]
        np.testing.assert_array_equal(pixels, blend(a, b, ratio / 100))
        shown = [float(value.removeprefix("< ").removesuffix(" %")) for value in state["values"]]
        np.testing.assert_allclose(shown, np.maximum(100 * sweep[ratio], 0.1), atol=0.51)
    markers = [state["marker"] for state in seen]
    assert all(one < other for one, other in zip(markers, markers[1:], strict=False))

    # Only where the drag ended is told, for the link and the downloads.
    page.wait_for_url("**ratio=100**")


def test_bars_of_the_opening_blend_are_the_command_lines(open_blend, sweep):
    page = open_blend()
    see_text(page.locator("output.recipe"), "40 % cat + 60 % dog")
    see_text(page.locator(".answer .value"), [percent(p) for p in sweep[40]])
    see(page.locator(".gap", has_text=re.compile("^40 % cat \\+ 60 % dog in.*softmax is not a mixture estimate")))


def test_link_restores_a_blend_and_keys_move_it(open_blend, wait_idle):
    page = open_blend("?a=deer&b=horse&ratio=60&mode=halves&model=lab-net")
    see_text(page.locator("output.recipe"), "60 % deer + 40 % horse")
    a, b = load_image(SAMPLES / "deer.webp"), load_image(SAMPLES / "horse.webp")
    see_pixels(page.locator("canvas.mix"), blend(a, b, 0.6, mode="halves"))
    slider = page.locator("input.ratio")
    slider.focus()
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    see_text(page.locator("output.recipe"), "62 % deer + 38 % horse")
    assert "62 % deer, 38 % horse" in slider.get_attribute("aria-valuetext").replace(" + ", ", ")
    page.wait_for_url("**ratio=62**")
    wait_idle(page)
    page.get_by_role("button", name="Swap").click()
    see(page.locator("output.recipe", has_text="38 % horse + 62 % deer"))
    page.wait_for_url("**a=horse**")
    wait_idle(page)
    link = {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}
    assert link == {"a": "horse", "b": "deer", "ratio": "38", "mode": "halves", "model": "lab-net"}
    page.get_by_role("button", name="Examples").click()
    page.get_by_text("60 % deer + 40 % horse", exact=True).last.click()
    see(page.locator("output.recipe", has_text="60 % deer + 40 % horse"))


def test_downloads_are_the_blend_on_the_screen(open_blend, sweep):
    page = open_blend("?a=cat&b=dog&ratio=25&model=lab-net")

    def download(name):
        with page.expect_download() as caught:
            page.get_by_role("button", name=name).click()
        return caught.value.path()

    a, b = load_image(SAMPLES / "cat.webp"), load_image(SAMPLES / "dog.webp")
    np.testing.assert_array_equal(np.asarray(Image.open(download("Mixed image (PNG)"))), blend(a, b, 0.25))
    rows = list(csv.DictReader(open(download("Sweep (CSV)"))))
    table = np.array([[float(row[name]) for name in CLASS_NAMES] for row in rows])
    np.testing.assert_allclose(table, sweep, atol=1e-5)
    assert b"<svg" in open(download("Chart (SVG)"), "rb").read(300)
    assert Image.open(download("Chart (PNG)")).width > 600


def test_own_picture_is_blended_and_not_in_the_link(open_blend, tmp_path):
    page = open_blend()
    file = tmp_path / "grey.png"
    Image.new("RGB", (300, 200), (90, 90, 90)).save(file)
    page.get_by_role("button", name="First: cat").click()
    page.locator("input[type=file]").first.set_input_files(file)
    see(page.locator("output.recipe", has_text="40 % grey.png + 60 % dog"))
    see(page.get_by_text("but not your own pictures"))
    b = load_image(SAMPLES / "dog.webp")
    see_pixels(page.locator("canvas.mix"), blend(np.full((32, 32, 3), 90, np.uint8), b, 0.4))
    assert "a=" not in urlsplit(page.url).query.replace("&", " ").split()[0]


def test_two_models_stand_side_by_side(open_blend, second_model):
    page = open_blend(f"?a=cat&b=dog&ratio=40&model=lab-net,{second_model}")
    see_number(page.locator(".winner"), 2)
    see_number(page.locator(".curve svg"), 2)

    def on_one_screen(what, size):
        boxes = [page.locator(what).nth(number).bounding_box() for number in (0, 1)]
        assert all(boxes)
        one, other = boxes
        assert one["y"] == other["y"] and one["x"] + one["width"] <= other["x"]
        assert other["y"] + other["height"] < size["height"] and other["x"] + other["width"] <= size["width"]

    laptop, phone = SIZES["laptop"], SIZES["phone"]
    for what, size in ((".winner", laptop), (".winner", phone), (".curve svg", laptop)):  # a phone's curves are stacked
        page.set_viewport_size(size)
        until(page, lambda what=what, size=size: on_one_screen(what, size))


def test_the_network_that_learned_from_blends_stands_beside_the_first(open_blend, sweep, command_line):
    page = open_blend("")
    see_number(page.locator(".winner"), 2)
    said = json.loads(command_line("blend", "cat", "dog", "--ratio", "0.4", "--json", "--model", "mix-net"))
    other = [percent(said["probabilities"][name]) for name in CLASS_NAMES]
    see_text(page.locator(".answer .value"), [percent(p) for p in sweep[40]] + other)
    see(page.get_by_text("mix-net was trained on blends of two images"))
    see(page.locator(".gap").nth(1).filter(has_text="trained on blends, it aims at the shares"))
    page.wait_for_url("**model=lab-net%2Cmix-net**")


def test_hostile_link_opens_the_default_and_says_what_was_left_out(open_blend):
    page = open_blend("?a=<script>alert(1)</script>&b=../../etc&ratio=1e9&mode=rm&model=" + "x" * 500)
    see(page.get_by_text("Part of the link made no sense here and was left out: a, b, ratio, mode."))
    see_text(page.locator("output.recipe"), "40 % cat + 60 % dog")

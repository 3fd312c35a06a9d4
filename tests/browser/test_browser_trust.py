"""What only a browser shows of sets, explanations, predict first and ambiguous pairs."""

import json
import os
import shutil

import numpy as np
import pytest

from cifar_model.classes import CLASS_NAMES
from cifar_model.models.layout import CARD_FILE
from cifar_model.storage import assets_dir
from cifar_model.trust.answer_sets import answer_sets, describe_set
from tests.browser.looking import see, see_number, wait_for_silence

LAB_NET = assets_dir() / "models" / "lab-net"
SETS = {
    "method": "RAPS", "penalty": 0.003, "rank": 3,
    "levels": {"90": {"threshold": 0.55}, "95": {"threshold": 1.62}, "99": {"threshold": 1.95}},
}  # fmt: skip
pytestmark = pytest.mark.skipif(not LAB_NET.exists(), reason="no bundled model in this checkout")


@pytest.fixture(scope="module")
def with_sets(server):
    """lab-net with sets of these thresholds, as another model; returns its name."""
    folder = server.runs / ".with-sets"
    shutil.copytree(LAB_NET, folder)
    card = json.loads((folder / CARD_FILE).read_text("utf-8"))
    (folder / CARD_FILE).write_text(json.dumps(card | {"name": "with-sets", "sets": SETS}), "utf-8")
    os.rename(folder, server.runs / "with-sets")  # whole from the first moment on
    return "with-sets"


@pytest.fixture
def open_blend(page, server):
    def open_link(query):
        page.goto(f"{server.url}/blend{query}")
        see(page.get_by_role("button", name="Sweep (CSV)"), timeout=180_000)
        see(page.locator(".gap").first.filter(has_text=" in"))
        return page

    return open_link


def test_set_follows_the_slider_without_a_message(page, open_blend, with_sets, command_line):
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    open_blend(f"?a=deer&b=ship&ratio=0&model={with_sets}")
    said = json.loads(command_line("blend", "deer", "ship", "--sweep", "--json", "--model", with_sets))
    sweep = np.array([[row["probabilities"][name] for name in CLASS_NAMES] for row in said["sweep"]])
    sets = answer_sets(sweep, SETS, 95)
    assert len({tuple(row) for row in sets}) > 2
    page.locator(".curve .member").nth(2).wait_for(state="attached")
    wait_for_silence(page, sent)
    slider = page.locator("input.ratio")
    for ratio in range(0, 101, 4):
        slider.evaluate("(s, ratio) => { s.value = ratio; s.dispatchEvent(new Event('input')); }", ratio)
        shown = page.locator(".verdict").inner_text()
        expected = describe_set(sets[ratio], 95) if sets[ratio].sum() <= 4 else f"{sets[ratio].sum()} of the ten"
        assert shown.startswith(f"Set: {expected}")
    assert not sent
    slider.press("ArrowLeft")
    page.wait_for_url("**ratio=99**")
    assert sent  # the ear is open: only where the slider comes to rest is told


def test_level_is_a_choice(open_blend, with_sets):
    page = open_blend(f"?a=deer&b=ship&ratio=24&model={with_sets}")
    see(page.locator(".verdict", has_text="(95 %)"))
    page.get_by_role("button", name="Options").click()
    page.get_by_text("99 %", exact=True).click()
    see(page.locator(".verdict", has_text="(99 %)"))


def test_evidence_appears_over_the_picture(page, server):
    page.goto(server.url)
    page.wait_for_selector("h3", timeout=180_000)
    page.get_by_text("Why? Evidence in the image").click()
    see(page.get_by_alt_text("Where the evidence for dog"), timeout=60_000)
    page.get_by_test_id("stButtonGroup").filter(has_text="Evidence for").get_by_text("horse", exact=True).click()
    see(page.get_by_alt_text("Where the evidence for horse"), timeout=60_000)
    see(page.get_by_text("more evidence for the class"))


def test_classify_hides_its_answer_until_the_guess(page, server):
    page.goto(f"{server.url}?sample=frog")
    see(page.locator("h3", has_text="frog"), timeout=180_000)
    page.get_by_role("button", name="Options").click()
    page.get_by_text("Predict first").click()
    page.keyboard.press("Escape")
    see(page.locator("h3", has_text="What do you say?"))
    see_number(page.locator(".bars"), 0)
    see_number(page.get_by_role("group", name="Sample photographs").get_by_text("frog"), 0)
    page.get_by_test_id("stButtonGroup").filter(has_text="Your guess").get_by_text("frog", exact=True).click()
    see(page.locator("h3", has_text="frog ·"))
    see(page.get_by_text("you 1 of 1, lab-net 1 of 1"))


def test_blend_hides_its_answers_until_the_guess(open_blend):
    page = open_blend("?a=cat&b=dog&ratio=40&model=lab-net")
    page.get_by_role("button", name="Options").click()
    page.get_by_text("Predict first").click()
    page.keyboard.press("Escape")
    page.locator(".guess").first.wait_for()
    page.locator(".bars").wait_for(state="detached")
    see_number(page.locator(".curve"), 0)
    see_number(page.get_by_role("button", name="Sweep (CSV)"), 0)
    slider = page.locator("input.ratio")
    slider.focus()
    slider.press("End")  # the guess counts for where the slider is, however fast it comes
    page.locator(".guess", has_text="frog").click()
    see(page.locator(".answer .bars"))
    see(page.get_by_text("At 100 % you said frog"))
    see(page.get_by_text("You foresaw lab-net's winner in 0 of 1 blends"))


def test_one_click_loads_an_ambiguous_pair(open_blend):
    page = open_blend("?a=cat&b=dog&ratio=40&model=lab-net")
    page.get_by_text("The most ambiguous pairs").click()
    tile = page.get_by_role("group", name="The most ambiguous mixes").get_by_role("button").first
    tile.wait_for(timeout=120_000)
    title, note = tile.locator(".title").inner_text(), tile.locator(".note").inner_text()
    recipe = note.rpartition(",")[0]
    tile.click()
    see(page.locator("output.recipe", has_text=recipe))
    see(page.locator(".winner", has_text=title.rsplit(" ", 2)[0]))
    parents = [part.split(" % ")[1] for part in recipe.split(" + ")]
    assert title.split()[0] not in parents

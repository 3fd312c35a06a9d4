"""The first screens, measured; the pages by keyboard alone; what axe-core finds on them."""

import re

import pytest

from cifar_model.storage import assets_dir
from tests.browser.first_screens import MUST_SEE, READY, SIZES, all_on_the_first_screen
from tests.browser.looking import focused, needs_no_sideways_scrolling, see, tab_to, until

PATIENCE = 180_000  # ms, for a machine that does other things too
PAGES = tuple(READY)

pytestmark = pytest.mark.skipif(
    not (assets_dir() / "models" / "lab-net").exists(), reason="no bundled model in this checkout"
)


@pytest.fixture
def visit(new_page, server, wait_idle):
    """A function that opens a page and waits until it stands still."""

    def open_page(name, **options):
        page = new_page(**options)
        page.goto(f"{server.url}/{name}")
        page.wait_for_selector(READY[name], timeout=PATIENCE)
        wait_idle(page, PATIENCE)
        return page

    return open_page


@pytest.mark.parametrize(("name", "size"), MUST_SEE)
def test_what_matters_stands_on_the_first_screen(visit, name, size):
    page = visit(name, viewport=SIZES[size])
    until(page, lambda: all_on_the_first_screen(page, MUST_SEE[name, size]))  # fonts and pictures settle
    needs_no_sideways_scrolling(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(visit, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python isn't installed")
    page = visit(name, color_scheme=scheme)
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = {
        rule["id"]: [node["html"][:200] for node in rule["nodes"]][:3]
        for rule in found
        if rule["impact"] in ("serious", "critical")
    }
    assert not serious


def test_classify_by_keyboard_keeps_the_focus(visit, wait_idle):
    page = visit("")
    tab_to(page, "^horse")
    page.keyboard.press("Enter")
    see(page.locator("h3", has_text=re.compile("horse")), timeout=PATIENCE)
    wait_idle(page)
    assert focused(page) == "horse"  # a rerun takes nobody's place away


def test_blend_by_keyboard(visit, wait_idle):
    page = visit("blend")
    tab_to(page, "^Share of cat")
    page.keyboard.press("End")
    see(page.locator("output.recipe", has_text="100 % cat + 0 % dog"))
    page.wait_for_url("**ratio=100**")
    wait_idle(page)
    page.keyboard.press("ArrowLeft")  # the slider still has the focus
    see(page.locator("output.recipe", has_text="99 % cat + 1 % dog"))


def test_models_by_keyboard(visit, wait_idle):
    page = visit("models")
    page.get_by_role("radio", name="Confusions").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert focused(page) == "Answer sets"
    page.keyboard.press("Space")
    see(page.get_by_role("heading", name="How large are its answer sets?"))


def test_motion_follows_the_systems_setting(visit):
    page = visit("", reduced_motion="reduce")
    moves = "e => getComputedStyle(e).transitionDuration"
    assert page.locator(".bars .fill").first.evaluate(moves) in ("0s", "1e-05s")
    assert page.locator("button.tile").first.evaluate(moves) in ("0s", "1e-05s")

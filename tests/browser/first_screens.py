"""What stands on the first screen of each page, at the sizes of a laptop and a telephone: measured, not guessed.

``python -m tests.browser.first_screens URL`` prints what is cut off; test_browser_first_screen.py runs it in CI.
"""

import sys

LAPTOP, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
STRIP = "[role=group][aria-label='Sample photographs']"
# Of each page and size: what a visitor must see without scrolling, as selectors, and what page to open.
MUST_SEE = {
    ("", "laptop"): (
        "[data-testid=stFileUploaderDropzone]", STRIP, ".stage img", "canvas.pixels", "h3", ".bars li:nth-child(10)",
    ),
    ("", "phone"): (STRIP, ".stage img", "canvas.pixels", "h3", ".bars li:nth-child(3)"),
    ("blend", "laptop"): (
        ".st-key-choice_a button", ".st-key-choice_b button", "canvas.mix", "input.ratio", ".winner",
        ".bars li:nth-child(10)", ".curve svg",
    ),
    ("blend", "phone"): ("canvas.mix", "input.ratio", ".winner", ".bars li:nth-child(6)"),
    ("models", "laptop"): ("[data-testid=stMetric] >> nth=3", "h2", "button.cell >> nth=99"),
    ("models", "phone"): ("[data-testid=stMetric] >> nth=0",),
    ("train", "laptop"): (".st-key-train_start button",),
    ("train", "phone"): ("[data-testid=stButtonGroup] >> nth=0",),
}  # fmt: skip
# Of a run under way, at 1280 × 800: progress, both curves, the guesses to the last, the controls.
TRAINING = (
    "[data-testid=stProgress]", ".st-key-train_curves svg >> nth=0", ".st-key-train_curves svg >> nth=1",
    ".guesses", "[data-testid=stMetric] >> nth=3", ".st-key-train_stop button",
)  # fmt: skip
SIZES = {"laptop": LAPTOP, "phone": PHONE}
# A page's last part to appear: until then nothing is measured.
READY = {"": ".bars li", "blend": ".gap", "models": "button.cell", "train": ".st-key-train_start button"}


def cut_off(page, wanted) -> list[str]:
    """Which of these selectors' elements are missing, or not wholly inside the first screen."""
    height, width = page.viewport_size["height"], page.viewport_size["width"]
    missing = []
    for selector in wanted:
        found = page.locator(selector)
        box = found.first.bounding_box() if found.count() else None
        if box is None:
            missing.append(f"{selector}: not there")
        elif box["y"] < 0 or box["y"] + box["height"] > height or box["x"] < -1 or box["x"] > width:
            missing.append(f"{selector}: {box['y']:.0f} to {box['y'] + box['height']:.0f} of {height}")
    return missing


def all_on_the_first_screen(page, wanted) -> None:
    """Raise AssertionError where `cut_off` finds anything."""
    missing = cut_off(page, wanted)
    assert not missing


def main(url: str) -> None:
    """Print what is cut off on the pages of a running app."""
    import shutil

    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import BROWSER_ARGS, BROWSERS

    executable = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=BROWSER_ARGS)
        for (name, size), wanted in MUST_SEE.items():
            page = browser.new_page(viewport=SIZES[size])
            page.goto(f"{url}/{name}")
            page.wait_for_selector(READY[name], timeout=120_000)
            page.wait_for_timeout(1000)
            print(f"{name or 'classify'}, {size}: {cut_off(page, wanted) or 'all there'}")
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])

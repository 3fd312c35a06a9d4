"""What a test of the browser looks for, where a page may just be redrawing itself."""

import re
import time

import numpy as np


def see(locator, timeout: float = 30_000):
    """Wait until exactly one visible element is what `locator` describes; return a locator of it.

    While Streamlit redraws a page, the element of the run before may stand beside the new one for a moment. A plain
    `wait_for` fails then; here, the old one has `timeout` ms to go.
    """
    from playwright.sync_api import expect

    one = locator.filter(visible=True)
    expect(one).to_have_count(1, timeout=timeout)
    return one


def see_number(locator, number: int, timeout: float = 30_000) -> None:
    """Wait until `locator` describes so many elements: what belongs together need not be drawn at one moment."""
    from playwright.sync_api import expect

    expect(locator).to_have_count(int(number), timeout=timeout)


def see_text(locator, text: str | list[str], timeout: float = 30_000) -> None:
    """Wait until `locator` reads `text`, or its elements read these texts, one each."""
    from playwright.sync_api import expect

    expect(locator).to_have_text(text, use_inner_text=True, timeout=timeout)


def see_pixels(canvas, expected: np.ndarray, timeout: float = 30_000) -> None:
    """Wait until a canvas shows these pixels, (32, 32, 3), each to the last bit."""
    read = "c => [...c.getContext('2d').getImageData(0, 0, 32, 32).data]"

    def check():
        seen = np.array(canvas.evaluate(read)).reshape(32, 32, 4)[..., :3]
        np.testing.assert_array_equal(seen, expected)

    until(canvas.page, check, timeout)


def until(page, check, timeout: float = 30_000) -> None:
    """Call `check` until it raises no AssertionError; after `timeout` ms its last one comes through."""
    deadline = time.monotonic() + timeout / 1000
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        page.wait_for_timeout(100)


def needs_no_sideways_scrolling(page) -> None:
    """Wait until the page is no wider than its window."""
    main = page.get_by_test_id("stMain")

    def check():
        assert main.evaluate("m => m.scrollWidth <= m.clientWidth")

    until(page, check)


def wait_for_silence(page, traffic: list) -> None:
    """Wait until for a second nothing was added to `traffic`; leave that empty."""
    while True:  # the test's time limit ends a wait in vain
        traffic.clear()
        page.wait_for_timeout(1000)
        if not traffic:
            return


def focused(page) -> str:
    """What the element that has the focus is called, inside a component too."""
    return page.evaluate("""() => {
      let at = document.activeElement;
      while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
      return at?.getAttribute('aria-label') || at?.innerText || at?.labels?.[0]?.innerText || at?.title || '';
    }""").strip()


def tab_to(page, wanted: str, *, at_most: int = 80) -> None:
    """Press Tab until the focused element's name matches."""
    passed = []
    for _ in range(at_most):
        page.keyboard.press("Tab")
        passed.append(focused(page))
        if re.search(wanted, passed[-1]):
            return
    way = [name[:30] for name in passed]
    raise AssertionError(f"no element {wanted!r} within {at_most} steps of the Tab key; on the way: {way}")

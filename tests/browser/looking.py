"""What a test of the browser looks for, where a page may just be redrawing itself."""

import re


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

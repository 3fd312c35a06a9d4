"""What a test of the browser looks for, where a page may just be redrawing itself."""


def see(locator, timeout: float = 30_000):
    """Wait until exactly one visible element is what `locator` describes; return a locator of it.

    While Streamlit redraws a page, the element of the run before may stand beside the new one for a moment. A plain
    `wait_for` fails then; here, the old one has `timeout` ms to go.
    """
    from playwright.sync_api import expect

    one = locator.filter(visible=True)
    expect(one).to_have_count(1, timeout=timeout)
    return one

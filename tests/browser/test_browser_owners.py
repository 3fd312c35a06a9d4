"""Whose runs are whose, in two browsers: what one of them keeps, the other doesn't know."""

import re

import pytest

from tests.browser.looking import see, see_number
from tests.browser.test_browser_train import PATIENCE, badge, start


@pytest.fixture(scope="module")
def server(launch_server, tiny_cifar10, tmp_path_factory):
    """An app with a teacher's code."""
    app = launch_server(
        tmp_path_factory.mktemp("classroom"), CIFAR10_DIR=str(tiny_cifar10), CIFAR_LAB_TEACHER_CODE="chalk"
    )
    yield app
    app.stop()


def buttons(page):
    return page.get_by_role("button", name=re.compile("^(Pause|Resume|Stop)"))


def test_a_run_is_its_browsers_and_the_teachers(new_page, server, wait_idle):
    mine, theirs = new_page(), new_page()
    for page in (mine, theirs):
        page.goto(f"{server.url}/train", timeout=PATIENCE)
        wait_idle(page, PATIENCE)
    start(mine, wait_idle, name="mine", epochs=200, batch_size=32)
    mine.get_by_role("button", name="Pause").click(timeout=PATIENCE)
    see(badge(mine, "paused"), timeout=PATIENCE)
    theirs.goto(f"{server.url}/train?run=mine", timeout=PATIENCE)
    see(badge(theirs, "paused"), timeout=PATIENCE)
    see(badge(theirs, "somebody else's"))
    see_number(buttons(theirs), 0)

    mine.reload()  # a new visit, from the same browser
    see(mine.get_by_role("button", name="Resume"), timeout=PATIENCE)

    theirs.get_by_role("button", name="Teacher").click()
    theirs.get_by_label("The teacher's code").fill("chalk")
    theirs.get_by_label("The teacher's code").press("Enter")
    see(theirs.get_by_text("You can change every run"), timeout=PATIENCE)
    theirs.keyboard.press("Escape")
    theirs.get_by_role("button", name="Stop", exact=True).click(timeout=PATIENCE)
    theirs.get_by_role("dialog").get_by_role("button", name="Stop").click(timeout=PATIENCE)
    see(badge(mine, "stopped"), timeout=PATIENCE)

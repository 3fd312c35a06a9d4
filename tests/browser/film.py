"""Make the README's moving picture: ``make film``, or ``python -m tests.browser.film docs/lab.webp``.

A real server and Chromium: a person's mouse drags Blend's slider, then a network learns from the distilled images that
ship, from its first epoch to its last. No picture of CIFAR-10 gets into the repository.
"""

import io
import os
import shutil
import tempfile
from pathlib import Path

import click
import numpy as np
from PIL import Image

from cifar_model.data.sources import MINI
from cifar_model.runs import start
from cifar_model.runs.read import read_run
from cifar_model.training.settings import Settings
from tests.browser.conftest import BROWSER_ARGS, BROWSERS, start_server
from tests.browser.screenshots import READY

SCREEN = {"width": 1280, "height": 800}
WIDTH = 960  # pixels of the moving picture
DRAG, LEARNING = 26, 20  # frames
DRAG_MS, LEARNING_MS, REST_MS = 110, 300, 2000  # how long a frame is shown
MOST_BYTES = 3_000_000


def frame(page) -> Image.Image:
    """The page as it looks now."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return shot.resize((WIDTH, round(shot.height * WIDTH / shot.width)), Image.Resampling.LANCZOS)


def drag_slider(page, url: str) -> list[tuple[Image.Image, int]]:
    """Frames of Blend while its slider is dragged from dog to cat and half the way back."""
    page.goto(f"{url}/blend")
    page.wait_for_selector(READY["blend"])
    page.wait_for_selector(".curve svg")
    page.wait_for_timeout(3000)
    box = page.locator("input.ratio").bounding_box()
    shares = 0.5 - 0.5 * np.cos(np.linspace(0, 1.5 * np.pi, DRAG))  # slow at the ends, as a hand is
    y = box["y"] + box["height"] / 2
    frames = []
    for number, share in enumerate(shares):
        page.mouse.move(box["x"] + 8 + float(share) * (box["width"] - 16), y)
        if number == 0:
            page.mouse.down()
        page.wait_for_timeout(30)
        frames.append((frame(page), DRAG_MS))
    page.mouse.up()
    return [*frames[:-1], (frames[-1][0], REST_MS)]


def watch_training(page, url: str) -> list[tuple[Image.Image, int]]:
    """Frames of Train while a network learns, evenly over all of its epochs."""
    name = start.start_run(Settings(network="seed-cnn", recipe="quick", data=MINI), "first")
    page.goto(f"{url}/train?run={name}")
    page.wait_for_selector(READY["train"])
    frames, before = [], None
    while True:
        live = read_run(name).is_live
        now = page.get_by_test_id("stProgress").inner_text() if live else None
        if now != before:
            before = now
            frames.append(frame(page))
        if not live:
            break
        page.wait_for_timeout(500)
    page.get_by_text("finished").first.wait_for()
    page.wait_for_timeout(2000)
    frames[-1] = frame(page)
    chosen = np.unique(np.linspace(0, len(frames) - 1, LEARNING).astype(int))
    return [*((frames[i], LEARNING_MS) for i in chosen[:-1]), (frames[-1], REST_MS)]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def main(file):
    """Film the slider and a training into FILE, an animated WebP."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        server = start_server(Path(temporary) / "app", CIFAR10_DIR="")
        os.environ.update(CIFAR_LAB_RUNS=str(server.runs), CIFAR_LAB_CACHE=str(server.cache))
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=BROWSER_ARGS)
        try:
            page = browser.new_page(viewport=SCREEN, color_scheme="light")
            page.set_default_timeout(600_000)  # on a machine that does other things too
            frames = drag_slider(page, server.url) + watch_training(page, server.url)
        finally:
            browser.close()
            server.stop()
    pictures, times = zip(*frames, strict=True)
    for quality in (75, 60, 45, 30):
        pictures[0].save(
            file, "WEBP", save_all=True, append_images=pictures[1:], duration=times, loop=0, quality=quality, method=4
        )
        if file.stat().st_size <= MOST_BYTES:
            break
    click.echo(f"{file}: {len(pictures)} frames, {file.stat().st_size / 1e6:.1f} MB, quality {quality}")


if __name__ == "__main__":
    main()

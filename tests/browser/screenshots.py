"""Make the README's pictures: ``make screenshots``, or ``python -m tests.browser.screenshots FOLDER``.

A real server and Chromium, as a newcomer meets them: without CIFAR-10, of which no picture gets into the repository.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

import click

from benchmarks._film import camera_args, camera_picture, write_film
from cifar_model.data.sources import MINI
from cifar_model.runs import start
from cifar_model.runs.change import request
from cifar_model.runs.read import read_run
from cifar_model.training.settings import Settings
from tests.browser.conftest import BROWSER_ARGS, BROWSERS, start_server

SIZES = {"desktop": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
PATIENCE = 400_000  # ms, for a machine that does other things too


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--size", "sizes", type=click.Choice(list(SIZES)), multiple=True, default=list(SIZES), help="Only these.")
def main(folder, sizes):
    """Photograph every page in both themes, and at phone width, into FOLDER."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    executable = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        server = start_server(Path(temporary) / "app", CIFAR10_DIR="")
        os.environ.update(CIFAR_LAB_RUNS=str(server.runs), CIFAR_LAB_CACHE=str(server.cache))
        film = Path(temporary) / "camera.y4m"
        write_film(film, [camera_picture("dog")], rate=30)
        arguments = [*BROWSER_ARGS, *camera_args(film), "--use-fake-ui-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=arguments)
        try:
            settings = Settings(network="seed-cnn", recipe="full", data=MINI)
            name = start.start_run(settings, "first")
            while len(read_run(name).history) < 8:
                time.sleep(0.5)
            for theme in ("light", "dark"):
                for size in sizes:
                    context = browser.new_context(viewport=SIZES[size], color_scheme=theme, device_scale_factor=1)
                    context.set_default_timeout(PATIENCE)
                    for page_name in ("classify", "blend", "live", "train", "models"):
                        page = context.new_page()
                        page.goto(f"{server.url}/{'' if page_name == 'classify' else page_name}")
                        if page_name == "live":
                            page.get_by_role("button", name="Start the camera").click()
                        page.wait_for_selector(READY[page_name])
                        page.wait_for_timeout(2500)  # charts draw themselves after the script has ended
                        suffix = "" if size == "desktop" else f"-{size}"
                        page.screenshot(path=folder / f"{page_name}-{theme}{suffix}.png")
                        page.close()
                    context.close()
            request(name, "stop", wait=60)
        finally:
            browser.close()
            server.stop()
    click.echo(f"Wrote {len(list(folder.glob('*.png')))} pictures into {folder}.")


READY = {
    "classify": "h3",
    "blend": "output.recipe",
    "live": ".verdict:not(:empty)",
    "train": ".st-key-train_curves svg path.line",
    "models": "button.cell",
}

if __name__ == "__main__":
    main()

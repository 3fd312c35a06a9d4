"""Live in a browser: pictures a second from the camera to the bars, and what one takes, for each model that ships."""

import shutil
import statistics
import tempfile
from pathlib import Path

import click

from benchmarks._common import Table, benchmark, say
from benchmarks._film import camera_args, camera_picture, write_film
from benchmarks.app import BROWSER_ARGS, BROWSERS, ROOT, Server
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.models.folder import list_models

# Counts the answers of so many milliseconds, and times the two halves of one: pixels, network.
MEASURE = """async (root, milliseconds) => {
  const page = await root.page;
  let answers = 0, last = page.shown;
  const end = performance.now() + milliseconds;
  while (performance.now() < end) {
    await new Promise(resolve => setTimeout(resolve, 4));
    if (page.shown !== last) { answers++; last = page.shown; }
  }
  root.querySelector('.freeze').click();
  const pixels = [], network = [];
  const moving = page.live;
  for (let i = 0; i < 30; i++) {
    const start = performance.now();
    const seen = moving.look(0.5, 0.5, 0);
    pixels.push(performance.now() - start);
    const asked = performance.now();
    await page.network.ask(seen);
    network.push(performance.now() - asked);
  }
  return { rate: 1000 * answers / milliseconds, pixels, network, accelerator: page.accelerator };
}"""


@benchmark
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(min=1), help="Watched for each.")
def main(seconds):
    """Live in a browser: pictures a second from a camera of 640×480 pixels and 30 pictures a second to the bars.

    Wanted: 15 a second or more on 2 cores, without a GPU.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise LabError("This benchmark needs the package playwright (requirements-dev.txt).") from None
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        raise LabError("This benchmark needs Chromium or Chrome on this machine.")
    table = Table("Live", ("model", "on", "pictures a second", "pixels, ms", "network, ms"))
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        film = Path(temporary) / "camera.y4m"
        write_film(film, [camera_picture(name) for name in CLASS_NAMES], rate=30)
        server = Server(ROOT / "streamlit_app.py", Path(temporary))
        browser = playwright.chromium.launch(
            executable_path=executable, headless=True, args=[*BROWSER_ARGS, *camera_args(film)]
        )
        try:
            for model in [model for model in list_models() if model.kind == "bundled"]:
                say(f"{model.name} …")
                context = browser.new_context(permissions=["camera"])
                page = context.new_page()
                page.goto(f"{server.url}/live")
                page.locator(".live[data-ready]").wait_for(timeout=300_000)
                if page.locator(f".live[data-ready={model.name}]").count() == 0:
                    page.get_by_test_id("stSelectbox").locator("input").click()
                    page.get_by_role("option", name=model.title, exact=True).click()
                    page.locator(f".live[data-ready={model.name}]").wait_for(timeout=300_000)
                page.get_by_role("button", name="Start the camera").click()
                page.locator(".rate", has_text="a second").wait_for()
                page.wait_for_timeout(1000)
                found = page.locator(".live").evaluate(MEASURE, 1000 * seconds)
                middle = {part: statistics.median(found[part]) for part in ("pixels", "network")}
                table.add(
                    model.name, found["accelerator"], f"{found['rate']:.1f}",
                    f"{middle['pixels']:.1f}", f"{middle['network']:.1f}",
                )  # fmt: skip
                context.close()
        finally:
            browser.close()
            server.stop()
    table.notes.append("A headless Chromium without GPU; server and browser share this machine's cores.")
    return table


if __name__ == "__main__":
    main()

"""A real server and a real browser: `server` is one app for the session, `page` a fresh visitor of it.

Both skip with a reason where Chromium or Playwright isn't at hand.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
BROWSER_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Chromium's own, too, may ask nobody but the app.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


@dataclass
class Server:
    """A running app: where it answers, its directories, its log."""

    url: str
    runs: Path
    cache: Path
    log: Path
    process: subprocess.Popen

    def stop(self) -> None:
        """End the server as a person at the keyboard would, and wait until it's gone."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            self.process.wait(timeout=10)

    def _signal(self, number: int) -> None:
        if hasattr(os, "killpg"):  # make, and the app that it has started
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)


def app_command() -> list[str]:
    """`make app` where this virtual environment is make's own, else the command behind it."""
    venv = Path(sys.prefix)
    if (venv / "app").exists() and shutil.which("make"):
        return ["make", "app", f"VENV={venv}"]
    return [sys.executable, "-m", "streamlit", "run", str(ROOT / "streamlit_app.py")]


def start_server(directory: Path, *, environment: dict[str, str] | None = None, **changes: str) -> Server:
    """Start the app on a free port; return it once it's healthy.

    It gets its own runs and cache and the variables in `changes`; or, with `environment`, that one and no other.
    """
    directory.mkdir(parents=True, exist_ok=True)
    runs, cache, log = directory / "runs", directory / "cache", directory / "server.log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = environment or {**os.environ, "CIFAR_LAB_RUNS": str(runs), "CIFAR_LAB_CACHE": str(cache), **changes}
    settings = {"PORT": str(port), "ADDRESS": "127.0.0.1", "HEADLESS": "true"}
    with open(log, "ab") as output:
        process = subprocess.Popen(
            app_command(), cwd=ROOT, env=env | {f"STREAMLIT_SERVER_{key}": value for key, value in settings.items()},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", runs, cache, log, process)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=2).close()
            return server
        time.sleep(0.1)
    server.stop()
    raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(scope="session")
def launch_server():
    """`start_server`, for tests that need an app of their own; they stop it."""
    return start_server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One real app for all browser tests, with temporary runs and cache directories."""
    app = start_server(tmp_path_factory.mktemp("app"))
    yield app
    app.stop()


@pytest.fixture(scope="session")
def second_model(server):
    """Another model for the server: a copy of seed-cnn among the runs; returns its name."""
    name = "second-model"
    shutil.copytree(ROOT / "assets" / "models" / "seed-cnn", server.runs / f".{name}")
    os.rename(server.runs / f".{name}", server.runs / name)  # whole from the first moment on
    return name


@pytest.fixture(scope="session")
def command_line(server):
    """A function that runs `python -m cifar_model …` with the server's directories and returns what it printed."""

    def run(*arguments):
        env = {**os.environ, "CIFAR_LAB_RUNS": str(server.runs), "CIFAR_LAB_CACHE": str(server.cache)}
        command = [sys.executable, "-m", "cifar_model", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout

    return run


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, found on the machine: nothing is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as pw:
        chromium = pw.chromium.launch(executable_path=executable, headless=True, args=BROWSER_ARGS)
        yield chromium
        chromium.close()


@pytest.fixture
def new_page(browser, server):
    """A function that opens another visitor's page; no page may ask another host for anything."""
    contexts, strangers = [], []
    own = (server.url, server.url.replace("http", "ws", 1), "data:", "blob:")

    def open_page(**options):
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()

        def note(request):
            if not request.url.startswith(own):
                strangers.append(request.url)

        page.on("request", note)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not strangers, f"the app asked other hosts: {strangers}"


@pytest.fixture
def page(new_page):
    """A fresh visitor at desktop width."""
    return new_page()


@pytest.fixture(scope="session")
def wait_idle():
    """A function that waits until the page's script has finished and nothing is being redrawn."""

    def wait(page, timeout=30_000):
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=timeout)

    return wait


@pytest.fixture(scope="session")
def drop_files():
    """A function that drops files or folders onto an element as a person's mouse does (trusted events)."""

    def drop(page, paths, *, target="[data-testid=stFileUploaderDropzone]"):
        element = page.locator(target).first
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        cdp = page.context.new_cdp_session(page)
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            cdp.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})

    return drop

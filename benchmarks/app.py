"""How the app feels: first text, first answer, reactions, thirty users with and without a training, memory."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
import psutil
from PIL import Image

from benchmarks._common import Table, benchmark, data_option, installed, say
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.models.folder import list_models
from cifar_model.pictures.decode import decode_image
from cifar_model.storage import assets_dir

ROOT = Path(__file__).resolve().parents[1]
# What every page is compared with: one widget, one line of text.
EMPTY = """import streamlit as st
st.title("Empty")
choice = st.segmented_control("Way", ["one", "two", "three"], default="one", required=True)
st.write(choice)
"""
# The page's address, and the control that a person works there: (path, its label).
PAGES = {"classify": ("", "Add your own pictures from"), "blend": ("blend", "Way to mix"), "train": ("train", "Recipe")}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
BROWSER_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync"]  # fmt: skip
# Notes the time of each key press, of each change of the script's state, and of the last change on the page.
WATCH = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const bench = window.bench = {pressed: 0, states: [], changed: 0};
  document.addEventListener('keydown', () => {
    bench.pressed = performance.now(); bench.states = []; bench.changed = 0;
  }, true);
  new MutationObserver(records => {
    bench.changed = performance.now();
    for (const r of records)
      if (r.target === app && r.attributeName === 'data-test-script-state')
        bench.states.push([bench.changed, app.dataset.testScriptState]);
  }).observe(document.body, {attributes: true, childList: true, characterData: true, subtree: true});
}"""
SETTLED = """() => {
  const bench = window.bench, app = document.querySelector('[data-testid=stApp]');
  return bench.changed && app.dataset.testScriptState === 'notRunning' && performance.now() - bench.changed > 300;
}"""


class Server:
    """A Streamlit server on a free port of this machine, with runs and cache of its own."""

    def __init__(self, script: Path, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url, self.address = f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"
        self.log = folder / f"{script.stem}.log"
        options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
        self.started = time.perf_counter()
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", str(script), *options],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                break
            if self.process.poll() is not None or time.perf_counter() - self.started > 120:
                self.stop()
                raise LabError(f"The server did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        self.healthy = time.perf_counter() - self.started

    def megabytes(self) -> tuple[float, float]:
        """Resident memory of the app's own process, and of its worker processes."""
        process = psutil.Process(self.process.pid)
        children = sum(child.memory_info().rss for child in process.children(recursive=True))
        return process.memory_info().rss / 1e6, children / 1e6

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(15)


@contextlib.contextmanager
def serving(script: Path, folder: Path) -> Iterator[Server]:
    server = Server(script, folder)
    try:
        yield server
    finally:
        server.stop()


@benchmark
@data_option
@click.option("--starts", type=click.IntRange(1), default=3, show_default=True, help="Cold starts of each server.")
@click.option("--repeats", type=click.IntRange(1), default=15, show_default=True, help="Key presses, uploads, clicks.")
@click.option("--users", type=click.IntRange(0), default=30, show_default=True, help="At the same time.")
@click.option("--seconds", type=float, default=20.0, show_default=True, help="That they stay, an action a second each.")
@click.option("--training/--no-training", default=True, show_default=True, help="Once more while a training runs.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Time pages in Chromium.")
def main(data, starts, repeats, users, seconds, training, browser):
    """The app beside an empty Streamlit app, on this machine.

    Real servers on 127.0.0.1; Chromium times what is on the screen; simultaneous users are sessions on
    Streamlit's own websocket. Wanted: first text in 1.5 s; first answer 8 s after a cold start, 0.3 s warm; a
    page reacts within 1.5 times an empty app's time, also beside a training; 30 users' p95 within 0.3 s; app
    process within 300 MB.
    """
    table = Table("The app", ["what", "app p50 ms", "app p95 ms", "empty p50 ms", "empty p95 ms", "p50 over empty's"])
    if browser and (problem := no_browser()):
        table.notes.append(f"{problem}: what is on the screen was not timed.")
        browser = False
    if not list_models():
        table.notes.append("No model is here: answers were not timed. Train one, or bring assets/models.")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "runs").mkdir()
        os.environ.update(CIFAR_LAB_RUNS=str(folder / "runs"), STREAMLIT_BROWSER_GATHER_USAGE_STATS="false")
        if data:
            os.environ["CIFAR10_DIR"] = data
        empty = folder / "empty.py"
        empty.write_text(EMPTY, encoding="utf-8")
        scripts = {"app": ROOT / "streamlit_app.py", "empty": empty}
        chromium = stack.enter_context(launched()) if browser else None
        if chromium:
            attempt(first_contact, table, chromium, scripts, folder, starts)

        servers = {name: stack.enter_context(serving(script, folder)) for name, script in scripts.items()}
        before = servers["app"].megabytes()[0]
        if chromium and list_models():
            attempt(answers, table, chromium, servers["app"], repeats, folder)
        states = ["without a training", "beside a training"] if training else ["without a training"]
        for state in states:
            run = start_training(data, table) if state == "beside a training" else None
            if state == "beside a training" and run is None:
                break
            try:
                if chromium:
                    attempt(key_presses, table, chromium, servers, repeats, state)
                if users:
                    attempt(many_users, table, servers, users, seconds, state)
            finally:
                if run:
                    stop_training(run)
        own, workers = servers["app"].megabytes()
        other, _ = servers["empty"].megabytes()
        table.notes.append(
            f"Memory: app process {own:.0f} MB at the end ({before:.0f} MB before its first visitor), its workers "
            f"{workers:.0f} MB; the empty app's process {other:.0f} MB: {own / other:.2f} times as much."
        )
    table.notes.append(
        "First text and first answer after a cold start count from the start of the server's process, others from the "
        "navigation, click, key or upload. Key press: until the script has run and the browser shows it. Users: from "
        "the moment an action is due until the server reports the script run as finished, spread over all pages."
    )
    return table


def attempt(part: Callable, table: Table, *arguments) -> None:
    """Measure a part; where the app or the browser does not get there, say so and go on with the others."""
    from websockets.exceptions import WebSocketException

    expected: tuple = (LabError, TimeoutError, OSError, WebSocketException)
    if installed("playwright"):
        from playwright.sync_api import Error

        expected = (*expected, Error)
    try:
        part(table, *arguments)
    except expected as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        table.notes.append(f"Cut short: {part.__name__.replace('_', ' ')}, because of {type(error).__name__}: {reason}")


def quantiles(seconds: list[float]) -> tuple[float, float]:
    p50, p95 = np.percentile(seconds, [50, 95])
    return 1000 * float(p50), 1000 * float(p95)


def compare(table: Table, what: str, app: list[float], empty: list[float] | None = None) -> None:
    if not app:
        table.add(what, None, None, None, None, None)
    elif empty:
        ours, theirs = quantiles(app), quantiles(empty)
        table.add(what, *ours, *theirs, ours[0] / theirs[0])
    else:
        table.add(what, *quantiles(app), None, None, None)


# On the screen


def no_browser() -> str | None:
    if not installed("playwright"):
        return "playwright is not installed (pip install playwright)"
    if not any(map(shutil.which, BROWSERS)):
        return "No Chromium on this machine"
    return None


@contextlib.contextmanager
def launched():
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, headless=True, args=BROWSER_ARGS)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def visitor(chromium, url: str):
    """A fresh visitor's page, once its address is open; `page.began` is when it was asked for."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(180_000)
    page = context.new_page()
    page.began = time.perf_counter()
    page.goto(url, wait_until="commit")
    try:
        yield page
    finally:
        context.close()


def first_contact(table: Table, chromium, scripts: dict[str, Path], folder: Path, starts: int) -> None:
    """Cold starts: until the first text and the first answer are on the screen; then the second visitor's."""
    cold, text, answer = ({"app": [], "empty": []} for _ in range(3))
    with_answers = bool(list_models())
    for number in range(starts):
        for name, script in scripts.items():
            say(f"cold start {number + 1} of {starts}: {name}")
            with serving(script, folder) as server:
                with visitor(chromium, server.url) as page:
                    page.wait_for_selector("h1")
                    cold[name].append(time.perf_counter() - server.started)
                    if name == "app" and with_answers:
                        page.wait_for_selector("h3")
                        answer[name].append(time.perf_counter() - server.started)
                with visitor(chromium, server.url) as page:
                    page.wait_for_selector("h1")
                    text[name].append(time.perf_counter() - page.began)
    compare(table, "first text after a cold start", cold["app"], cold["empty"])
    compare(table, "first text, server warm", text["app"], text["empty"])
    if with_answers:
        compare(table, "first answer after a cold start", answer["app"])


def answers(table: Table, chromium, server: Server, repeats: int, folder: Path) -> None:
    """Warm: a click on a sample, and an upload, until the answer's heading has changed."""
    say("answers: clicks and uploads")
    clicks, uploads = [], []
    changed = "before => { const h = document.querySelector('h3'); return h && h.innerText !== before }"
    for number in range(repeats):
        name = CLASS_NAMES[number % len(CLASS_NAMES)]
        picture = folder / f"{name}-{number}.jpg"
        # Mirrored and turned a little, so that no answer is known from before.
        turned = decode_image(assets_dir() / "samples" / f"{name}.webp").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        turned.rotate(number + 1, fillcolor="white").save(picture, quality=90)
        with visitor(chromium, server.url) as page:
            page.wait_for_selector("h3")
            settle(page)
            gallery = page.get_by_role("group", name="Sample photographs")
            tile = gallery.get_by_role("button", name=CLASS_NAMES[(5 + 1 + number % 9) % 10])
            before, start = page.locator("h3").first.inner_text(), time.perf_counter()
            tile.click()
            page.wait_for_function(changed, arg=before)
            clicks.append(time.perf_counter() - start)
            settle(page)
            before, start = page.locator("h3").first.inner_text(), time.perf_counter()
            page.locator("input[type=file]").first.set_input_files(picture)
            page.wait_for_function(changed, arg=before)
            uploads.append(time.perf_counter() - start)
    compare(table, "click on a sample → answer", clicks)
    compare(table, "upload → answer", uploads)


def settle(page) -> None:
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_timeout(300)


def key_presses(table: Table, chromium, servers: dict[str, Server], repeats: int, state: str) -> None:
    """A key on a page's segmented control until the page is updated; the two apps alternate."""
    from playwright.sync_api import Error

    for name, (path, label) in PAGES.items():
        if state != "without a training" and name == "train":
            continue  # that page is redrawn all the time while it shows a run
        say(f"key presses on {name}, {state}")
        times = {"app": [], "empty": []}
        groups = {app: f"[role=radiogroup][aria-label='{title}']" for app, title in (("app", label), ("empty", "Way"))}
        with contextlib.ExitStack() as stack:
            pages = {}
            for app, address in (("app", f"/{path}"), ("empty", "/")):
                page = pages[app] = stack.enter_context(visitor(chromium, servers[app].url + address))
                page.wait_for_selector(groups[app])
                settle(page)
                page.evaluate(WATCH)
            for number in range(repeats + 3):
                for app, page in pages.items():
                    # Two entries in turn: the first three rounds fill the caches and don't count.
                    page.locator(f"{groups[app]} [role=radio]").nth((number + 1) % 2).focus()
                    page.keyboard.press("Enter")
                    try:
                        page.wait_for_function(SETTLED, timeout=10_000)
                    except Error:
                        say(f"{app}: the page did not settle")
                        continue
                    if number >= 3:
                        times[app].append(reaction(page.evaluate("window.bench")))
        compare(table, f"key press → updated page, {name}, {state}", times["app"], times["empty"])


def reaction(bench: dict) -> float:
    """Seconds from the key to the end of the script run; to the last change where the browser drew both at once."""
    ends = [moment for moment, state in bench["states"] if state == "notRunning"]
    return ((ends[0] if ends else bench["changed"]) - bench["pressed"]) / 1000


# Many users


def many_users(table: Table, servers: dict[str, Server], users: int, seconds: float, state: str) -> None:
    results = {"app": {page: [] for page in PAGES}, "empty": {None: []}}
    for _ in range(2):  # in turns, so that other work on the machine slows both
        for name, server in servers.items():
            say(f"{users} users on {name}, {state}")
            # In a thread of its own: Playwright's loop runs in this one.
            with ThreadPoolExecutor(1) as pool:
                part = pool.submit(asyncio.run, crowd(server.address, users, seconds / 2, list(results[name]))).result()
            for page, times in part.items():
                results[name][page] += times
    everything = [t for times in results["app"].values() for t in times]
    compare(table, f"{users} users, {state}", everything, results["empty"][None])
    for page, times in results["app"].items():
        compare(table, f"… of them on {page}", times, results["empty"][None])


async def crowd(address: str, users: int, seconds: float, pages: list) -> dict:
    """Sessions that change a control once a second; reaction times by page, in seconds."""
    times = {page: [] for page in pages}
    rng = random.Random(0)
    everyone = asyncio.Barrier(users)

    async def user(number: int) -> None:
        page = pages[number % len(pages)]
        async with Session(address, page) as session:
            for step in range(3):  # caches filled, as after a minute's use
                await session.act(step)
            await everyone.wait()
            start = time.perf_counter() + rng.random()
            for step in range(max(1, round(seconds))):
                due = start + step
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await session.act(step)
                # From when it was due: a slow answer must not hide the wait of the action after it.
                times[page].append(time.perf_counter() - due)

    async with asyncio.timeout(120 + 6 * seconds):
        await asyncio.gather(*(user(number) for number in range(users)))
    return times


class Session:
    """A visitor without a browser, on the websocket that Streamlit's page uses."""

    def __init__(self, address: str, page: str | None):
        self.address = address
        self.path, self.label = PAGES[page] if page else ("", "Way")
        self.hash, self.control, self.options = "", "", []
        self.one = False  # whether the control is a select box, which holds one entry

    async def __aenter__(self):
        from websockets.asyncio.client import connect

        url = f"ws://{self.address}/_stcore/stream"
        self.socket = await connect(url, subprotocols=["streamlit"], max_size=None, compression=None, open_timeout=60)
        await self.run(page_name=self.path)
        if not self.control:
            raise LabError(f"The page at /{self.path} has no control {self.label!r}: benchmark and app differ.")
        return self

    async def __aexit__(self, *error):
        await self.socket.close()

    async def act(self, step: int) -> None:
        """Choose one of the control's first two entries and wait for the page."""
        from streamlit.proto.WidgetStates_pb2 import WidgetState

        state = WidgetState(id=self.control)
        wanted = self.options[(step + 1) % 2]
        if self.one:
            state.string_value = wanted
        else:
            state.string_array_value.data.append(wanted)
        await self.run(page_script_hash=self.hash, state=state)

    async def run(self, *, page_name: str = "", page_script_hash: str = "", state=None) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        message = BackMsg()
        message.rerun_script.page_name = page_name
        message.rerun_script.page_script_hash = page_script_hash
        if state is not None:
            message.rerun_script.widget_states.widgets.append(state)
        else:
            message.rerun_script.widget_states.SetInParent()
        await self.socket.send(message.SerializeToString())
        while True:
            reply = ForwardMsg.FromString(await self.socket.recv())
            kind = reply.WhichOneof("type")
            if kind == "new_session":
                self.hash = reply.new_session.page_script_hash
            elif kind == "delta" and reply.delta.new_element.WhichOneof("type") == "selectbox":
                box = reply.delta.new_element.selectbox
                if box.label == self.label:
                    self.control, self.options, self.one = box.id, list(box.options), True
            elif kind == "delta" and reply.delta.new_element.WhichOneof("type") == "button_group":
                group = reply.delta.new_element.button_group
                if group.label == self.label:
                    self.control, self.options = group.id, [option.content for option in group.options]
            elif kind == "script_finished" and reply.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                return


# A training beside it


def start_training(data: str | None, table: Table) -> str | None:
    """Start a training as the Train page does and wait until it has made its first steps; None where it can't."""
    from cifar_model.data.find import is_available
    from cifar_model.runs import start as runs_start
    from cifar_model.runs.read import read_log, read_run
    from cifar_model.storage import runs_dir
    from cifar_model.training.settings import Settings

    if not is_available(data):
        table.notes.append("No CIFAR-10 on this machine: nothing was timed beside a training. Give --data.")
        return None
    say("starting a training")
    name = runs_start.start_run(Settings(recipe="full", data=data))
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        run = read_run(name)
        if run.state == "running" and (run.path / "progress.jsonl").exists():
            return name
        if run.state in ("failed", "interrupted"):
            break
        time.sleep(0.5)
    table.notes.append(f"The training did not start: {read_log(runs_dir() / name, 3)}")
    stop_training(name)
    return None


def stop_training(name: str) -> None:
    from cifar_model.runs.read import read_run

    status = read_run(name).status
    with contextlib.suppress(psutil.Error, TypeError, ValueError):
        process = psutil.Process(status["pid"])
        process.kill()  # nobody keeps this run
        process.wait(15)


if __name__ == "__main__":
    main()

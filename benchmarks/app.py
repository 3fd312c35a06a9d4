"""How the app feels: first text, first answer, reactions, thirty visitors with old runs and a training, memory."""

import asyncio
import contextlib
import io
import itertools
import json
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
import psutil
from PIL import Image

from benchmarks._common import Table, benchmark, data_option, installed, say
from benchmarks._visitors import EMPTY, ROOT, Server, Visitor, serving, write_old_runs
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.models.folder import list_models
from cifar_model.pictures.decode import decode_image
from cifar_model.storage import assets_dir

# The page's address, and what a person presses there in turn.
GROUP = "[role=radiogroup][aria-label='{}'] [role=radio]"
PAGES = {
    "classify": ("", GROUP.format("Add your own pictures from")),
    "blend": ("blend", "button:has-text('Swap')"),
    "train": ("train", GROUP.format("Recipe")),
}
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


@benchmark
@data_option
@click.option("--starts", type=click.IntRange(1), default=3, show_default=True, help="Cold starts of each server.")
@click.option("--repeats", type=click.IntRange(1), default=15, show_default=True, help="Key presses, uploads, clicks.")
@click.option("--users", type=click.IntRange(0), default=30, show_default=True, help="Visitors at the same time.")
@click.option("--seconds", type=float, default=60.0, show_default=True, help="That they stay.")
@click.option("--old-runs", multiple=True, type=click.IntRange(0), default=(0, 50), show_default=True, help="On disk.")
@click.option("--training/--no-training", default=True, show_default=True, help="Once more while a training runs.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Time pages in Chromium.")
def main(data, starts, repeats, users, seconds, old_runs, training, browser):
    """The app beside an empty Streamlit app, on this machine.

    Real servers on 127.0.0.1; Chromium times what is on the screen; simultaneous visitors are sessions on Streamlit's
    own websocket, each with a page of its own: a third upload a new picture every three seconds and have it answered,
    a third change a blend to a new picture, which ends the sweep before it, a third watch a training, as often as the
    page asks for a look. Wanted: first text in 1.5 s; first answer 2.5 s after a cold start, 0.3 s warm; a page
    reacts within 1.5 times an empty app's time; each kind's p95 at most that of a trivial action on an empty app with
    as many visitors, at most 1.5 times it beside a training; app and workers within 450 MB.
    """
    table = Table("The app", ["what", "app p50 ms", "app p95 ms", "empty p50 ms", "empty p95 ms", "over empty's"])
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
        for count in old_runs:
            if count:
                write_old_runs(folder / "runs", count)
            for state in states:
                where = f"{state}, {count} old runs"
                with watched_run(folder / "runs", data, table, real=state == "beside a training") as run:
                    if run is None:
                        break
                    if chromium and count == old_runs[0]:
                        attempt(key_presses, table, chromium, servers, repeats, state)
                    if users:
                        attempt(many_visitors, table, servers, users, seconds, run, where)
        own, workers = servers["app"].megabytes()
        other, _ = servers["empty"].megabytes()
        table.notes.append(
            f"Memory: app process {own:.0f} MB at the end ({before:.0f} MB before its first visitor), its workers "
            f"{workers:.0f} MB; the empty app's process {other:.0f} MB: {own / other:.2f} times as much."
        )
    table.notes.append(
        "First text and first answer after a cold start count from the start of the server's process, others from the "
        "navigation, click, key or upload. Key press: until the script has run and the browser shows it. Visitors: "
        "from the moment an action is due until the server reports the script run as finished. Without a training "
        "they watch a run whose records this benchmark writes. Over empty's: the quotient of the medians, of the "
        "visitors' p95."
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
    # Not those whose heading may say that it is none of the ten: it has to differ from the one before.
    names = [name for name in CLASS_NAMES if name not in ("automobile", "ship")]
    tiles = [name for name in names if name != "dog"]  # which is there at first
    for number in range(repeats):
        name = names[number % len(names)]
        tile = next(tile for tile in tiles[number % len(tiles) :] + tiles if tile != name)
        picture = folder / f"{name}-{number}.jpg"
        # Mirrored and turned a little, so that no answer is known from before.
        turned = decode_image(assets_dir() / "samples" / f"{name}.webp").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        turned.rotate(number + 1, fillcolor="white").save(picture, quality=90)
        with visitor(chromium, server.url) as page:
            page.wait_for_selector("h3")
            settle(page)
            gallery = page.get_by_role("group", name="Sample photographs")
            before, start = page.locator("h3").first.inner_text(), time.perf_counter()
            gallery.get_by_role("button", name=tile).click()
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
    """A key on a page's segmented control or button until the page is updated; the two apps alternate."""
    from playwright.sync_api import Error

    for name, (path, control) in PAGES.items():
        if state != "without a training" and name == "train":
            continue  # that page is redrawn all the time while it shows a run
        say(f"key presses on {name}, {state}")
        times = {"app": [], "empty": []}
        controls = {"app": control, "empty": GROUP.format("Way")}
        with contextlib.ExitStack() as stack:
            pages = {}
            for app, address in (("app", f"/{path}"), ("empty", "/")):
                page = pages[app] = stack.enter_context(visitor(chromium, servers[app].url + address))
                page.wait_for_selector(controls[app], state="attached")
                if (form := page.get_by_text("Start another run")).is_visible():
                    form.click()
                settle(page)
                page.evaluate(WATCH)
            for number in range(repeats + 3):
                for app, page in pages.items():
                    # Two entries in turn, or one button: the first three rounds fill the caches and don't count.
                    pressed = page.locator(controls[app])
                    pressed.nth((number + 1) % min(2, pressed.count())).focus()
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


# Many visitors

PERIOD = 3.0  # seconds between two actions of a visitor
KINDS = ("upload → answer", "new blend → its answer", "new blend → whole sweep", "look at a training")


_crowds = itertools.count()  # each shows pictures that nobody has shown before


def many_visitors(table: Table, servers: dict[str, Server], users: int, seconds: float, run: str, where: str) -> None:
    """Everybody on the app, then as many on the empty one, twice, so that other work on the machine slows both."""
    results: dict[str, list[float]] = {kind: [] for kind in (*KINDS, "empty")}
    for _ in range(2):
        for name, server in servers.items():
            say(f"{users} visitors on {name}, {where}")
            crowd = visit(server.address, users, seconds / 2, run if name == "app" else "", 1000 * next(_crowds))
            with ThreadPoolExecutor(1) as pool:  # Playwright's loop runs in this thread
                part = pool.submit(asyncio.run, crowd).result()
            for kind, times in part.items():
                results[kind] += times
    for kind in KINDS:
        if results[kind] and results["empty"]:
            ours, theirs = quantiles(results[kind]), quantiles(results["empty"])
            table.add(f"{users} visitors, {where}: {kind}", *ours, *theirs, ours[1] / theirs[1])
        else:
            table.add(f"{users} visitors, {where}: {kind}", None, None, None, None, None)
    blends, whole = (len(results[kind]) for kind in KINDS[1:3])
    table.notes.append(f"{where.capitalize()}: {whole} of {blends} sweeps were whole before the visitor's next blend.")


async def visit(address: str, users: int, seconds: float, run: str, first: int) -> dict[str, list[float]]:
    """Reaction times in seconds by kind; all of them "empty" where there is no `run` to watch."""
    times: dict[str, list[float]] = {kind: [] for kind in (KINDS if run else ("empty",))}
    everyone = asyncio.Barrier(users)
    rng = random.Random(first)
    end = 0.0
    steps = range(int(seconds // PERIOD) + 2)  # drawn before anybody comes: a visitor brings them along
    pictures = {n: [picture(n, step) for step in steps] for n in range(first, first + users) if run}

    async def regularly(act: Callable[[int, float], Awaitable[None]]) -> None:
        """Act once to load what is loaded once, then every PERIOD, told the step and when it was due."""
        nonlocal end
        await act(0, 0.0)
        await everyone.wait()
        end = max(end, time.perf_counter() + seconds)
        due, step = time.perf_counter() + rng.random() * PERIOD, 1
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await act(step, due)
            due, step = due + PERIOD, step + 1

    def note(kind: str, due: float, moment: float) -> None:
        # From when it was due: a slow answer must not hide the wait of the action after it.
        if due:
            times[kind].append(moment - due)

    async def uploader(number: int) -> None:
        async with Visitor(address) as visitor:

            async def act(step: int, due: float) -> None:
                await visitor.upload("uploads_files", *pictures[number][step])
                note(KINDS[0], due, time.perf_counter())

            await regularly(act)

    async def blender(number: int) -> None:
        async with Visitor(address, "blend") as visitor:

            async def act(step: int, due: float) -> None:
                await visitor.upload("file_a", *pictures[number][step])
                note(KINDS[1], due, visitor.answered)
                # As a browser does it, until the next blend takes this one's place.
                while due and not visitor.whole and (left := due + PERIOD - time.perf_counter()) > 0 and visitor.timers:
                    await asyncio.sleep(min(left, *visitor.timers.values()))
                    for fragment in list(visitor.timers):
                        await visitor.look(fragment)
                if visitor.whole:
                    note(KINDS[2], due, visitor.whole)

            await regularly(act)

    async def watcher(number: int) -> None:
        nonlocal end
        async with Visitor(address, "train", f"run={run}") as visitor:
            await everyone.wait()
            end = max(end, time.perf_counter() + seconds)
            due = {fragment: time.perf_counter() + every for fragment, every in visitor.timers.items()}
            while due and min(due.values()) < end:
                fragment = min(due, key=due.__getitem__)
                await asyncio.sleep(max(0.0, due[fragment] - time.perf_counter()))
                began = time.perf_counter()
                await visitor.look(fragment)
                if fragment in visitor.timers and visitor.timers[fragment] < 1:  # the live numbers
                    times[KINDS[3]].append(time.perf_counter() - began)
                # A browser's timer counts from one look to the next; those that the page has dropped end.
                due[fragment] = time.perf_counter() + visitor.timers.get(fragment, 1e9)
                for other, every in visitor.timers.items():
                    due.setdefault(other, time.perf_counter() + every)
                due = {one: moment for one, moment in due.items() if one in visitor.timers}

    async def idler(number: int) -> None:
        async with Visitor(address) as visitor:

            async def act(step: int, due: float) -> None:
                await visitor.choose("Way", step)
                note("empty", due, time.perf_counter())

            await regularly(act)

    kinds = (uploader, blender, watcher) if run else (idler,)
    async with asyncio.timeout(300 + 6 * seconds):
        await asyncio.gather(*(kinds[n % len(kinds)](first + n) for n in range(users)))
    return times


def picture(number: int, step: int) -> tuple[str, bytes]:
    """Name and PNG file of a picture that nobody has shown before."""
    rng = np.random.default_rng((number, step))
    photo = decode_image(assets_dir() / "samples" / f"{CLASS_NAMES[rng.integers(10)]}.webp")
    photo = photo.rotate(float(rng.uniform(-20, 20)), fillcolor="white").resize((320, 240))
    file = io.BytesIO()
    Image.fromarray(np.roll(np.asarray(photo), int(rng.integers(1, 200)), axis=1)).save(file, "PNG", compress_level=1)
    return f"{number}-{step}.png", file.getvalue()


# What they watch


@contextlib.contextmanager
def watched_run(runs: Path, data: str | None, table: Table, *, real: bool) -> Iterator[str | None]:
    """A run that trains, or one that this process writes the records of; None where a training can't be had."""
    if real:
        run = start_training(data, table)
        try:
            yield run
        finally:
            if run:
                stop_training(run)
        return
    over = threading.Event()
    path = runs / "watched"
    writer = threading.Thread(target=_pretend, args=(path, over), daemon=True)
    path.mkdir(exist_ok=True)
    _begin(path)
    writer.start()
    try:
        yield path.name
    finally:
        over.set()
        writer.join()
        shutil.rmtree(path)


def _begin(path: Path) -> None:
    from cifar_model.training.settings import Settings

    me = psutil.Process()
    status = {"state": "running", "pid": me.pid, "pid_started": me.create_time(), "updated": time.time(), "epoch": 0}
    record = {"name": path.name, "created": time.time(), "settings": Settings(network="seed-cnn", epochs=40).to_dict()}
    (path / "settings.json").write_text(json.dumps(record))
    (path / "status.json").write_text(json.dumps(status))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    np.savez(path / "guesses.npz", images=pixels, labels=np.arange(8))


def _pretend(path: Path, over: threading.Event) -> None:
    """Write records as a training does: twice a second, an epoch every ten seconds."""
    from cifar_model.models.history import HISTORY_COLUMNS

    (path / "history.csv").write_text(",".join(HISTORY_COLUMNS) + "\n")
    for number in range(40 * 20):
        epoch, step = number // 20 + 1, number % 20 + 1
        record = {"time": time.time(), "epoch": epoch, "epochs": 40, "step": step, "steps": 20, "loss": 2 / epoch}
        record |= {"accuracy": 0.5, "learning_rate": 0.001, "images_per_second": 900.0, "seconds_left": 100.0}
        for file, line in (
            ("progress.jsonl", record),
            ("guesses.jsonl", {"epoch": epoch, "step": step, "probabilities": np.full((8, 10), 0.1).tolist()}),
        ):
            with open(path / file, "a") as lines:
                lines.write(json.dumps(line) + "\n")
        if step == 20:
            with open(path / "history.csv", "a") as rows:
                rows.write(f"{epoch},{2 / epoch},0.5,{2 / epoch},0.5,0.001,900,10\n")
        if over.wait(0.5):
            return


def start_training(data: str | None, table: Table) -> str | None:
    """Start a training as the Train page does and wait until it has made its first steps; None where it can't."""
    from cifar_model.data.find import is_available
    from cifar_model.runs import start as runs_start
    from cifar_model.runs.read import read_log, read_run
    from cifar_model.storage import runs_dir
    from cifar_model.training.settings import Settings

    say("starting a training")
    have = is_available(data)
    if not have:
        table.notes.append(
            "No CIFAR-10 on this machine: the training beside it is one of seed-cnn on distilled images."
        )
    settings = Settings(recipe="full", data=data) if have else Settings(network="seed-cnn", epochs=200, data="mini")
    name = runs_start.start_run(settings)
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

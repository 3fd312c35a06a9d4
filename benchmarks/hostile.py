"""A hostile hour: spoilt pictures, forged messages and links, tabs that race; nothing may break or change hands."""

import asyncio
import contextlib
import hashlib
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path

import click
import psutil
from PIL import Image
from websockets.exceptions import ConnectionClosed

from benchmarks._common import Table, benchmark, held_bytes, installed, say
from benchmarks._visitors import ROOT, Server, Visitor, put_file, serving, write_old_runs
from cifar_model.runs.owners import fingerprint, write_owner
from cifar_model.storage import assets_dir, write_json

PAGES = ("", "blend", "live", "train", "models")
SECONDS_A_HANG = 120.0  # an answer that takes longer counts as a hang
A_LOT = 40  # pictures an upload
A_COMMAND = 400  # pictures a command
HANGS = (TimeoutError, ConnectionClosed)  # the websocket is closed where nobody answers its pings
BROKEN = re.compile(r"Traceback \(most recent call last\)|Uncaught app exception|Fatal Python error|Segmentation fault")
STRANGE = (
    None, True, -1, 0, 1, 1e308, -1e308, 10**40, "", "x", "dog", "sample-dog", "../../etc/passwd",
    "<script>alert(1)</script>", "\u0000", "\ud7ff" * 50, "a" * 100_000,
    [], [1], {}, {"id": "dog"}, [[[[[[[[]]]]]]]], {"__proto__": {"x": 1}},
)  # fmt: skip
KEYS = ("picked", "removed", "position", "kept", "ratio", "guess", "cell", "taken", "saved", "done", "key", "x")


@benchmark
@click.option("--pictures", type=click.IntRange(10), default=10_000, show_default=True, help="Spoilt ones, each way.")
@click.option("--messages", type=click.IntRange(1), default=2_000, show_default=True, help="Forged ones.")
@click.option("--links", type=click.IntRange(1), default=500, show_default=True, help="Forged ones.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Of two tabs on every button.")
@click.option("--seed", default=0, show_default=True, help="Of all that is drawn.")
def main(pictures, messages, links, rounds, seed):
    """What strangers may send: to the app, whose teacher has set a code, and to the command line.

    Pictures of every format are spoilt (bytes changed, cut, doubled, sizes lied about) and uploaded, and classified
    in a terminal. Components of every page are sent what no browser sends, pages are opened by links that make no
    sense, and two tabs press every button at once, beside runs that belong to somebody else. Wanted: no traceback, no
    hang, at most 600 MB for the app and its workers, nobody else's run changed. The process that loads TensorFlow once
    somebody asks "Why?", and ends when nobody does, is in the last column only.
    """
    columns = ["what", "tried", "refused in words", "tracebacks", "hangs", "most MB", "with TensorFlow's process"]
    table, draw = Table("A hostile hour", columns), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        changes = {
            "CIFAR_LAB_RUNS": str(folder / "runs"), "CIFAR_LAB_CACHE": str(folder / "cache"),
            "CIFAR_LAB_TEACHER_CODE": uuid.uuid4().hex, "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
        }  # fmt: skip
        write_others_runs(folder / "runs")
        before = runs_as_they_are(folder / "runs")
        say("the command line")
        table.add("pictures, command line", pictures, *command_line(folder, pictures, draw, changes))
        with serving(ROOT / "streamlit_app.py", folder, changes) as server:
            for what, tried, attack in (
                ("pictures, upload", pictures, upload_pictures),
                ("forged component messages", messages, forge_messages),
                ("forged links", links, forge_links),
                ("two tabs, every button", rounds, race),
            ):
                say(what)
                seen = len(server.log.read_text(errors="replace"))
                with watching(server.process.pid) as peak:
                    refused, hangs = asyncio.run(attack(server, tried, draw))
                log = server.log.read_text(errors="replace")[seen:]
                table.add(what, tried, refused, len(BROKEN.findall(log)), hangs, *peak)
                if found := BROKEN.search(log):
                    table.notes.append(f"First of {what}: {log[found.start() : found.start() + 3000]}")
        after = runs_as_they_are(folder / "runs")
        changed = sorted(run for run in before if before[run] != after.get(run))
        table.notes.append(f"Runs of others that changed: {', '.join(changed) or 'none'}, of {len(before)}.")
    return table


# Pictures


def spoilt_pictures(count: int, draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files that were pictures once."""
    whole = whole_pictures()
    for number in range(count):
        kind = draw.choice(list(whole))
        suffix = draw.choice([kind.lower(), "jpg", "png", "txt"])
        yield f"{number:05}-{draw.choice(['a', 'ü', '=1+1', '$x$ *b*'])}.{suffix}", spoil(whole[kind], draw)


def whole_pictures() -> dict[str, bytes]:
    """A small picture in every format that is taken."""
    image = Image.open(assets_dir() / "samples" / "dog.webp").convert("RGB").resize((96, 64))
    kinds = ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"]
    if installed("pillow-heif"):  # writes what pi-heif reads
        import pillow_heif

        pillow_heif.register_heif_opener()
        kinds.append("HEIF")
    files = {}
    for kind in kinds:
        file = io.BytesIO()
        image.save(file, kind, **({"save_all": True, "append_images": [image.rotate(90)]} if kind == "GIF" else {}))
        files[kind] = file.getvalue()
    return files


def spoil(data: bytes, draw: random.Random) -> bytes:
    """A file with something wrong; one in twenty stays as it is."""
    spoilt = bytearray(data)
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
        at, way = draw.randrange(max(1, len(spoilt))), draw.randrange(7)
        if way == 0:
            del spoilt[at : at + draw.choice([1, 4, 64])]
        elif way == 1:
            for _ in range(draw.choice([1, 8, 200])):
                spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
        elif way == 2:
            del spoilt[at:]
        elif way == 3:
            spoilt[at:at] = spoilt[: draw.randrange(len(spoilt) + 1)]
        elif way == 4:  # a size that is a lie, most of them near the front
            at = draw.randrange(min(64, len(spoilt)))
            spoilt[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\xff\xff"])
        elif way == 5:
            spoilt += draw.randbytes(draw.choice([1, 1000, 100_000]))
        else:
            spoilt[:at] = draw.randbytes(at)
        spoilt = spoilt or bytearray(b"\0")
    return bytes(spoilt)


def command_line(folder: Path, count: int, draw: random.Random, changes: dict[str, str]) -> tuple:
    """Classify spoilt pictures in processes of their own: refused, tracebacks, hangs, most MB of a process."""
    refused = tracebacks = hangs = 0
    most = 0.0
    files = spoilt_pictures(count, draw)
    while lot := [file for _, file in zip(range(A_COMMAND), files, strict=False)]:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            for file, data in lot:
                (Path(name) / file.replace("/", "-")).write_bytes(data)
            command = [sys.executable, "-m", "cifar_model", "classify", name, "--json"]
            with subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | changes
            ) as process, watching(process.pid) as peak:  # fmt: skip
                try:
                    out, err = process.communicate(timeout=SECONDS_A_HANG + 2 * len(lot))
                except subprocess.TimeoutExpired:
                    process.kill()
                    hangs += 1
                    continue
            most = max(most, peak[1])
            tracebacks += len(BROKEN.findall(err.decode("utf-8", "replace"))) + (process.returncode not in (0, 1))
            with contextlib.suppress(ValueError, KeyError):
                refused += len(json.loads(out)["errors"])
    return refused, tracebacks, hangs, most, None


async def upload_pictures(server: Server, count: int, draw: random.Random) -> tuple[int, int]:
    """Upload spoilt pictures, some at a time, each lot by a visitor who then leaves."""
    refused = hangs = 0
    files = spoilt_pictures(count, draw)
    while lot := [file for _, file in zip(range(A_LOT), files, strict=False)]:
        try:
            async with asyncio.timeout(SECONDS_A_HANG + 2 * len(lot)), Stranger(server.address) as visitor:
                await visitor.upload_all("uploads_files", lot)
                refused += visitor.errors
        except HANGS:
            hangs += 1
    return refused, hangs


class Stranger(Visitor):
    """A visitor who also notes what components there are and how many errors the page shows."""

    def __init__(self, *arguments, **options):
        self.components: set[str] = set()
        self.errors = 0
        super().__init__(*arguments, **options)

    def _note(self, element) -> None:
        kind = element.WhichOneof("type")
        if kind == "bidi_component":
            self.components.add(element.bidi_component.id)
        elif kind == "alert":
            self.errors += 1
        super()._note(element)

    async def upload_all(self, key: str, files: list[tuple[str, bytes]]) -> None:
        """Put files into an uploader and wait for the page."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.WidgetStates_pb2 import WidgetState

        message = BackMsg()
        request = message.file_urls_request
        request.request_id, request.session_id = uuid.uuid4().hex, self.session
        request.file_names.extend(name for name, _ in files)
        await self.socket.send(message.SerializeToString())
        reply = None
        while reply is None:
            found = await self._receive()
            reply = found.file_urls_response if found.WhichOneof("type") == "file_urls_response" else None
        state = WidgetState(id=self.uploaders[key])
        for urls, (name, data) in zip(reply.file_urls, files, strict=True):
            await asyncio.to_thread(put_file, f"http://{self.address}/{urls.upload_url.lstrip('/')}", name, data)
            info = state.file_uploader_state_value.uploaded_file_info.add()
            info.file_id, info.name, info.size = urls.file_id, name, len(data)
            info.file_urls.CopyFrom(urls)
        await self._change(state)

    async def say(self, component: str, value, trigger: bool) -> None:
        """Send a component's value, as its script would."""
        from streamlit.proto.WidgetStates_pb2 import WidgetState

        state = WidgetState(id=component)
        setattr(state, "json_trigger_value" if trigger else "json_value", json.dumps(value))
        await self._change(state, keep=False)


# Messages, links, tabs


async def forge_messages(server: Server, count: int, draw: random.Random) -> tuple[int, int]:
    """Send each page's components what no browser would."""
    refused = hangs = done = 0
    while done < count:
        for page in PAGES:
            try:
                async with asyncio.timeout(SECONDS_A_HANG), Stranger(server.address, page) as visitor:
                    for component in sorted(visitor.components):
                        for _ in range(2):
                            value = draw.choice([draw.choice(STRANGE), {draw.choice(KEYS): draw.choice(STRANGE)}])
                            value = value if isinstance(value, dict) else {key: value for key in KEYS}
                            await visitor.say(component, value, draw.random() < 0.2)
                            done += 1
                    refused += visitor.errors
            except HANGS:
                hangs += 1
            if done >= count:
                break
    return refused, hangs


async def forge_links(server: Server, count: int, draw: random.Random) -> tuple[int, int]:
    """Open pages by addresses that make no sense."""
    names = ("model", "sample", "a", "b", "ratio", "mode", "show", "cell", "run", "level", "raw", "predict", "x")
    words = [str(value) for value in STRANGE] + ["lab-net", "lab-net,seed-cnn", "theirs-1", "lab-net@999", "cat-dog"]
    refused = hangs = 0
    for _ in range(count):
        query = urllib.parse.urlencode(
            [(draw.choice(names), draw.choice(words)[:20_000]) for _ in range(draw.randrange(1, 6))]
        )
        try:
            async with asyncio.timeout(SECONDS_A_HANG), Stranger(server.address, draw.choice(PAGES), query) as visitor:
                refused += visitor.errors
        except HANGS:
            hangs += 1
    return refused, hangs


async def race(server: Server, rounds: int, draw: random.Random) -> tuple[int, int]:
    """Two tabs press every button of every page, each at the same moment, beside runs of others."""
    refused = hangs = 0

    async def press(page: str, query: str) -> None:
        nonlocal refused, hangs
        try:
            async with asyncio.timeout(2 * SECONDS_A_HANG), Stranger(server.address, page, query) as visitor:
                for label in sorted(visitor.buttons):
                    if label in visitor.buttons:
                        await visitor.click(label)
                refused += visitor.errors
        except HANGS:
            hangs += 1

    for _ in range(rounds):
        for page in PAGES:
            query = f"run=theirs-{draw.randrange(5)}" if page == "train" else ""
            await asyncio.gather(press(page, query), press(page, query))
    return refused, hangs


# Whose runs they are


def write_others_runs(folder: Path) -> None:
    """Runs of somebody else: some that have ended, one that trains and one that is paused, as far as files tell."""
    write_old_runs(folder, 5)
    me = psutil.Process()
    for number, run in enumerate(sorted(folder.iterdir())):
        path = run.rename(folder / f"theirs-{number}")
        write_owner(path, fingerprint(uuid.uuid4().hex))
        if number < 2:
            write_json(path / "status.json", {
                "state": ("running", "paused")[number], "pid": me.pid, "pid_started": me.create_time(),
                "updated": time.time(), "epoch": 3,
            })  # fmt: skip


def runs_as_they_are(folder: Path) -> dict[str, str]:
    """A fingerprint of all files of each run of others, letters to it included."""
    found = {}
    for run in sorted(folder.glob("theirs-*")):
        digest = hashlib.sha256()
        for file in sorted(file for file in run.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(run)}\n".encode() + file.read_bytes())
        found[run.name] = digest.hexdigest()
    return found


@contextlib.contextmanager
def watching(pid: int) -> Iterator[list[float]]:
    """The most megabytes that a process and its children hold while this goes on; what they share counts once.

    First without the children that have loaded TensorFlow (known under Linux alone), then with them.
    """
    peak, over = [0.0, 0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            with contextlib.suppress(psutil.Error, OSError):
                process = psutil.Process(pid)
                # Whether it has TensorFlow is asked first, as a process may end any time.
                children = [(has_tensorflow(one), held_bytes(one)) for one in process.children(recursive=True)]
                held = held_bytes(process) + sum(size for _, size in children)
                without = held - sum(size for loaded, size in children if loaded)
                peak[:] = max(peak[0], without / 1e6), max(peak[1], held / 1e6)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def has_tensorflow(process: psutil.Process) -> bool:
    maps = Path(f"/proc/{process.pid}/maps")
    return maps.exists() and "libtensorflow" in maps.read_text()


if __name__ == "__main__":
    main()

"""Servers on this machine, and visitors without a browser: they speak on the websocket as Streamlit's page does."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from cifar_model.errors import LabError

ROOT = Path(__file__).resolve().parents[1]
# What every page is compared with: one widget, one line of text.
EMPTY = """import streamlit as st
st.title("Empty")
choice = st.segmented_control("Way", ["one", "two", "three"], default="one", required=True)
st.write(choice)
"""


class Server:
    """A Streamlit server on a free port of this machine; `environment` is added to this process's own."""

    def __init__(self, script: Path, folder: Path, environment: Mapping[str, str] | None = None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url, self.address = f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"
        self.log = folder / f"{script.stem}-{port}.log"
        options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
        if script.parent != ROOT:  # an empty app is one as Streamlit comes
            options.append("--runner.postScriptGC=true")
        self.started = time.perf_counter()
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", str(script), *options], cwd=ROOT, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, env=os.environ | (environment or {}),
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
        children = 0
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                children += child.memory_info().rss
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
def serving(script: Path, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A `Server` that is stopped in the end."""
    server = Server(script, folder, environment)
    try:
        yield server
    finally:
        server.stop()


class Visitor:
    """One session at a page of an app, kept up by whole messages as a browser's would be.

    groups : segmented controls and select boxes by label: id, options, whether it holds one entry
    buttons, uploaders : ids of buttons by label, of uploaders by the last part of their id, which is their key
    timers : seconds between two looks by fragment, as the page asks for them
    said : all headings of the last run of the page
    answered, whole : when the first answers, and when all, of the blend that was last chosen came (perf_counter), None
        before
    cookie : what the browser sends along, as `name=value`
    """

    def __init__(self, address: str, page: str = "", query: str = "", cookie: str = ""):
        self.address, self.page, self.query, self.cookie = address, page, query, cookie
        self.hash = self.session = ""
        self.groups: dict[str, tuple[str, list[str], bool]] = {}
        self.buttons: dict[str, str] = {}
        self.uploaders: dict[str, str] = {}
        self.timers: dict[str, float] = {}
        self.said: list[str] = []
        self.answered: float | None = None
        self.whole: float | None = None
        self._states: dict = {}
        self._in_fragment = False
        self._fragments: dict[str, str] = {}  # of widgets that belong to one, by id
        self._blend = self._blend_before = -1  # counts blends: the last that was answered, the last before the change

    async def __aenter__(self) -> "Visitor":
        from websockets.asyncio.client import connect

        url = f"ws://{self.address}/_stcore/stream"
        self.socket = await connect(
            url, subprotocols=["streamlit"], max_size=None, compression=None, open_timeout=60,
            additional_headers={"Cookie": self.cookie} if self.cookie else None,
        )  # fmt: skip
        await self.run(page_name=self.page)
        return self

    async def __aexit__(self, *error) -> None:
        await self.socket.close()

    async def choose(self, label: str, step: int) -> None:
        """Choose one of a control's first two entries, in turn, and wait for the page."""
        from streamlit.proto.WidgetStates_pb2 import WidgetState

        if label not in self.groups:
            raise LabError(f"The page at /{self.page} has no control {label!r}: benchmark and app differ.")
        identity, options, one = self.groups[label]
        state = WidgetState(id=identity)
        if one:
            state.string_value = options[(step + 1) % 2]
        else:
            state.string_array_value.data.append(options[(step + 1) % 2])
        await self._change(state)

    async def click(self, label: str) -> None:
        """Click a button and wait for the page."""
        from streamlit.proto.WidgetStates_pb2 import WidgetState

        if label not in self.buttons:
            raise LabError(f"The page at /{self.page} has no button {label!r}: benchmark and app differ.")
        await self._change(WidgetState(id=self.buttons[label], trigger_value=True), keep=False)

    async def upload(self, key: str, name: str, data: bytes) -> None:
        """Put a file into an uploader and wait for the page."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.WidgetStates_pb2 import WidgetState

        if key not in self.uploaders:
            raise LabError(f"The page at /{self.page} has no uploader {key!r}: benchmark and app differ.")
        message = BackMsg()
        request = message.file_urls_request
        request.request_id, request.session_id = uuid.uuid4().hex, self.session
        request.file_names.append(name)
        await self.socket.send(message.SerializeToString())
        reply = None
        while reply is None:
            found = await self._receive()
            reply = found.file_urls_response if found.WhichOneof("type") == "file_urls_response" else None
        urls = reply.file_urls[0]
        url = f"http://{self.address}/{urls.upload_url.lstrip('/')}"
        await asyncio.to_thread(put_file, url, name, data, self.cookie)
        state = WidgetState(id=self.uploaders[key])
        info = state.file_uploader_state_value.uploaded_file_info.add()
        info.file_id, info.name, info.size = urls.file_id, name, len(data)
        info.file_urls.CopyFrom(urls)
        await self._change(state)

    async def look(self, fragment: str) -> None:
        """Draw a fragment again, as its timer does."""
        await self.run(page_script_hash=self.hash, fragment_id=fragment, is_auto_rerun=True)

    async def again(self) -> None:
        """Draw the page again."""
        await self.run(page_script_hash=self.hash)

    async def _change(self, state, keep: bool = True) -> None:
        self._states[state.id] = state
        self.answered, self.whole, self._blend_before = None, None, self._blend
        fragment = self._fragments.get(state.id)
        await self.run(page_script_hash=self.hash, **({"fragment_id": fragment} if fragment else {}))
        if not keep:
            del self._states[state.id]

    async def run(self, **request) -> None:
        """Ask for a run of the script, or of a fragment, and read until it is over."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        self._in_fragment = "fragment_id" in request
        message = BackMsg()
        rerun = message.rerun_script
        rerun.query_string = self.query
        for name, value in request.items():
            setattr(rerun, name, value)
        rerun.widget_states.SetInParent()
        rerun.widget_states.widgets.extend(self._states.values())
        await self.socket.send(message.SerializeToString())
        over = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
        while True:
            reply = await self._receive()
            if reply.WhichOneof("type") == "script_finished":
                if reply.script_finished in over:
                    return
                self._in_fragment = False  # it ended early: what follows is a run of the whole page

    async def _receive(self):
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        reply = ForwardMsg.FromString(await self.socket.recv())
        kind = reply.WhichOneof("type")
        if kind == "new_session":
            self.hash = reply.new_session.page_script_hash
            self.session = reply.new_session.initialize.session_id or self.session
            if not self._in_fragment:
                self.timers, self.said = {}, []
        elif kind == "navigation":  # a server that knows its pages already tells only here which one it draws
            self.hash = reply.navigation.page_script_hash
        elif kind == "auto_rerun":
            self.timers[reply.auto_rerun.fragment_id] = reply.auto_rerun.interval
        elif kind == "page_info_changed":
            self.query = reply.page_info_changed.query_string
        elif kind == "delta":
            element = reply.delta.new_element
            self._note(element)
            if reply.delta.fragment_id and (of := element.WhichOneof("type")):
                self._fragments[getattr(getattr(element, of), "id", "")] = reply.delta.fragment_id
        return reply

    def _note(self, element) -> None:
        kind = element.WhichOneof("type")
        if kind == "selectbox":
            box = element.selectbox
            self.groups[box.label] = box.id, list(box.options), True
        elif kind == "button_group":
            group = element.button_group
            self.groups[group.label] = group.id, [option.content for option in group.options], False
        elif kind == "button":
            self.buttons[element.button.label] = element.button.id
        elif kind == "file_uploader":
            self.uploaders[element.file_uploader.id.rpartition("-")[2]] = element.file_uploader.id
        elif kind == "heading":
            self.said.append(element.heading.body)
        elif kind == "bidi_component" and '"known"' in element.bidi_component.json:  # Blend's, with a model's answers
            data = json.loads(element.bidi_component.json)[0]
            self._blend = data["version"]
            if data["models"] and self._blend > self._blend_before:
                self.answered = self.answered or time.perf_counter()
                if len(data["models"][0]["known"]) == 101:
                    self.whole = self.whole or time.perf_counter()


def put_file(url: str, name: str, data: bytes, cookie: str = "") -> None:
    """Upload a file with the token that the server wants back, and with a cookie of one's own."""
    ask = urllib.request.Request(url.split("/_stcore/")[0] + "/_stcore/health", headers={"Cookie": cookie})
    with urllib.request.urlopen(ask, timeout=60) as health:
        found = re.search(r"_streamlit_xsrf=([^;]+)", "; ".join(health.headers.get_all("Set-Cookie") or []))
    token = found[1] if found else ""
    border = uuid.uuid4().hex
    head = f'--{border}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
    body = f"{head}Content-Type: image/png\r\n\r\n".encode() + data + f"\r\n--{border}--\r\n".encode()
    headers = {
        "Content-Type": f"multipart/form-data; boundary={border}",
        "X-Xsrftoken": token,
        "Cookie": f"_streamlit_xsrf={token}; {cookie}".rstrip("; "),
    }
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT"), timeout=60) as answer:
        answer.read()


def write_old_runs(folder: Path, count: int, epochs: int = 20) -> None:
    """Runs as their trainers leave them, with records of `epochs` epochs, but with files that hold no network."""
    import numpy as np

    from cifar_model.models.history import HISTORY_COLUMNS
    from cifar_model.training.settings import Settings

    settings = Settings(network="seed-cnn", epochs=epochs)
    rows = [
        f"{n},{2 / n:.4g},{1 - 0.9 / n:.4g},{2.1 / n:.4g},{1 - 0.92 / n:.4g},0.001,900,12" for n in range(1, epochs + 1)
    ]
    for number in range(count):
        path = folder / f"old-{number}"
        (path / "epochs").mkdir(parents=True)
        for epoch in range(1, epochs + 1, 2):
            (path / "epochs" / f"epoch-{epoch:03d}.keras").write_bytes(b"no network")
        (path / "model.keras").write_bytes(b"no network")
        record = {"name": path.name, "created": 1e9 + number, "command": "python -m cifar_model train"}
        progress = {"epochs": epochs, "steps": 10, "loss": 1.0, "accuracy": 0.5, "learning_rate": 0.001}
        progress |= {"images_per_second": 900.0, "seconds_left": 0.0, "time": 1e9}
        lines = [progress | {"epoch": n // 10 + 1, "step": n % 10 + 1} for n in range(10 * epochs)]
        files = {
            "settings.json": record | {"settings": settings.to_dict()},
            "status.json": {"state": "finished", "pid": 1, "pid_started": 1.0, "updated": 1e9, "epoch": epochs},
            "card.json": {
                "name": path.name, "network": "seed-cnn", "settings": settings.to_dict(), "epochs": epochs,
                "scores": {"test_accuracy": 0.8, "confusion": (100 * np.eye(10, dtype=int)).tolist()},
            },
        }  # fmt: skip
        for name, content in files.items():
            (path / name).write_text(json.dumps(content))
        (path / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (path / "history.csv").write_text("\n".join([",".join(HISTORY_COLUMNS), *rows, ""]))
        for item in (path, path / "status.json"):
            os.utime(item, (1e9, 1e9))

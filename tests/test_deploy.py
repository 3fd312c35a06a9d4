"""Two processes of the app behind the very proxy of deploy/compose.yaml, without containers."""

import asyncio
import contextlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from helpers import REPOSITORY, encode, make_pictures, wait_for

from benchmarks._visitors import Visitor, put_file, serving
from cifar_model.runs.read import list_runs, read_run
from cifar_model.runs.records import read_object

DEPLOY = REPOSITORY / "deploy"
APP = REPOSITORY / "streamlit_app.py"


def proxy_program():
    """HAProxy's program; Debian puts it where only root looks."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


pytestmark = pytest.mark.skipif(not proxy_program(), reason="needs HAProxy: apt-get install haproxy")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """What both processes share: the folders of runs and caches."""
    for variable, name in (("CIFAR_LAB_RUNS", "runs"), ("CIFAR_LAB_CACHE", "cache")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path


@pytest.fixture
def two(home):
    """Two servers by the proxy's names for them."""
    with serving(APP, home) as first, serving(APP, home) as second:
        yield {"app1": first, "app2": second}


@contextlib.contextmanager
def proxied(first, second):
    """The address of a proxy before the servers at two addresses."""
    address = f"127.0.0.1:{free_port()}"
    places = {"LAB_APP_1": first, "LAB_APP_2": second}
    process = subprocess.Popen(
        [proxy_program(), "-W", "-db", "-f", DEPLOY / "haproxy.cfg"], env=os.environ | places | {"LAB_BIND": address}
    )
    try:
        wait_for(lambda: answers(address), "the proxy")
        yield address
    finally:
        for one in psutil.Process(process.pid).children(recursive=True):
            one.kill()
        process.kill()
        process.wait()


@pytest.fixture
def proxy(two):
    """The address of the proxy before both."""
    with proxied(*(server.address for server in two.values())) as address:
        yield address


def answers(address):
    try:
        with urllib.request.urlopen(f"http://{address}/_stcore/health", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def place_given(address, cookie=""):
    """The cookie by which the proxy places whoever asks with this one; None where the place stays as it is."""
    ask = urllib.request.Request(f"http://{address}/", headers={"Cookie": cookie})
    with urllib.request.urlopen(ask, timeout=30) as reply:
        found = re.search(r"lab_app=\w+", "; ".join(reply.headers.get_all("Set-Cookie") or []))
    return found[0] if found else None


@pytest.mark.training
def test_a_visit_stays_with_one_process_and_finds_another_when_that_is_gone(two, proxy, home):
    picture = encode(make_pictures(1, seed=3)[0][0])

    def taken_in():
        return list((home / "cache" / "visits").glob("*/*"))

    async def visit():
        first = place_given(proxy)
        async with Visitor(proxy, cookie=first) as one:
            second = wait_for(lambda: (found := place_given(proxy)) != first and found, "a place on the other")
            assert {first, second} == {"lab_app=app1", "lab_app=app2"}
            assert all(place_given(proxy, first) is None for _ in range(5))
            # The file goes over a connection of its own, to the process that knows the visit.
            await one.upload("uploads_files", "one.png", picture)
            assert await asyncio.to_thread(wait_for, taken_in, "the picture")
            with pytest.raises(urllib.error.HTTPError) as refused:
                put_file(f"http://{proxy}/_stcore/upload_file/{one.session}/x", "one.png", picture, second)
            assert refused.value.code in (400, 404)
        async with Visitor(proxy, "train", cookie=first) as one, Visitor(proxy, "train", cookie=second) as other:
            await one.click("Start training")
            name = (await asyncio.to_thread(wait_for, list_runs, "the run"))[0].name
            assert read_run(name).is_live
            await other.again()
            assert name in other.said
            two[first.partition("=")[2]].process.kill()
            with pytest.raises(Exception, match="close"):  # noqa: B017 - of the package that speaks WebSocket
                while True:
                    await one.again()
            # As the browser does it: the same cookie, and a page that connects anew.
            assert await asyncio.to_thread(wait_for, lambda: place_given(proxy, first) == second, "the other process")
        async with Visitor(proxy, "train", f"run={name}", cookie=second) as again:
            assert name in again.said
        return name

    name = asyncio.run(visit())
    run = read_run(name)
    assert run.is_live  # the training was no part of the process that started it
    psutil.Process(read_object(run.path / "launcher.json")["pid"]).kill()


@contextlib.contextmanager
def answering(asked, goes):
    """A server that is well by its own word, and closes without an answer where it ``goes``; notes what it is asked."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/_stcore/health":
                asked.append((self.server.server_port, self.command))
                if goes:
                    return
            self.send_response(200)
            self.end_headers()

        do_PUT = do_GET

        def log_message(self, *what): ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_page_asked_of_a_process_that_goes_comes_from_the_other_and_an_upload_is_not_repeated():
    asked = []
    with (
        answering(asked, goes=True) as gone,
        answering(asked, goes=False) as other,
        proxied(*(f"127.0.0.1:{one.server_port}" for one in (gone, other))) as address,
    ):
        assert place_given(address, "lab_app=app1") == "lab_app=app2"
        assert asked[-1] == (other.server_port, "GET")
        asked.clear()
        upload = urllib.request.Request(
            f"http://{address}/", headers={"Cookie": "lab_app=app1"}, data=b"x", method="PUT"
        )
        with pytest.raises(urllib.error.HTTPError, match="502"):
            urllib.request.urlopen(upload, timeout=30)
        assert asked == [(gone.server_port, "PUT")]


def test_the_compose_file_names_what_the_proxy_needs():
    text = (DEPLOY / "compose.yaml").read_text()
    for variable in set(re.findall(r"\$\{(\w+)\}", (DEPLOY / "haproxy.cfg").read_text())):
        assert variable in text
    assert "./haproxy.cfg:" in text and Path(DEPLOY, "..", "Dockerfile").is_file()

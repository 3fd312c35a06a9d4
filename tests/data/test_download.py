"""Fetching CIFAR-10 over connections that break, from real servers on this machine."""

import hashlib
import http.server
import threading
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
from helpers import kept

from cifar_model.data import download, find, sources
from cifar_model.data.download import PARTIAL_NAME, partial_download
from cifar_model.data.find import keras_source
from cifar_model.errors import DatasetError

CONTENT = np.random.default_rng(3).bytes(2_000_000)


@pytest.fixture
def keras(tmp_path, monkeypatch):
    """Keras's datasets folder, empty; what is fetched must be CONTENT."""
    folder = tmp_path / "keras" / "datasets"
    folder.mkdir(parents=True)
    monkeypatch.setattr(find, "keras_folders", lambda: [folder])
    monkeypatch.setattr(download, "ARCHIVE_BYTES", len(CONTENT))
    monkeypatch.setattr(sources, "ARCHIVE_SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.01)
    return folder


@pytest.fixture
def server(monkeypatch):
    """A server of CONTENT; `breaks` holds, for each of the next answers, after how many bytes it hangs up."""
    state = SimpleNamespace(breaks=[], parts=True, content=CONTENT, asked=[])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers["Range"]
            state.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and state.parts else 0
            if start >= len(state.content):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            self.send_header("Content-Length", str(len(state.content) - start))
            self.end_headers()
            rest = state.content[start:]
            self.wfile.write(rest[: state.breaks.pop(0)] if state.breaks else rest)
            self.close_connection = True

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(sources, "ARCHIVE_URL", f"http://127.0.0.1:{httpd.server_port}/a.tar.gz")
        yield state
        httpd.shutdown()
        thread.join()


def whole(keras):
    archive = keras / "cifar-10-batches-py-target_archive"
    assert kept(keras) == [archive]
    return archive.read_bytes() == CONTENT


def test_goes_on_where_each_connection_broke(keras, server):
    server.breaks = [700_000, 500_000]
    seen = []
    download.download(lambda done, total: seen.append((done, total)))
    assert whole(keras)
    assert server.asked == [None, "bytes=700000-", "bytes=1200000-"]
    assert seen == sorted(seen) and seen[-1] == (len(CONTENT), len(CONTENT))


def test_the_next_call_goes_on_after_a_network_that_went_away(keras, server):
    server.breaks = [900_000, 0]
    with pytest.raises(DatasetError, match=r"0\.9 MB have arrived and are kept"):
        download.download()
    assert keras_source() is None  # what is there does not count yet
    assert partial_download() == keras / PARTIAL_NAME and partial_download().stat().st_size == 900_000
    seen = []
    download.download(lambda done, total: seen.append(done))
    assert whole(keras) and server.asked[-1] == "bytes=900000-" and min(seen) > 900_000
    assert partial_download() is None


def test_begins_anew_where_a_server_sends_no_parts(keras, server):
    server.parts, server.breaks = False, [900_000]
    download.download()
    assert whole(keras) and server.asked == [None, "bytes=900000-"]


def test_a_start_that_does_not_fit_is_dropped(keras, server):
    (keras / PARTIAL_NAME).write_bytes(b"x" * 1_000_000)
    download.download()
    assert whole(keras) and server.asked == ["bytes=1000000-", None]


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_a_start_that_is_too_long_is_dropped(keras, server, size):
    (keras / PARTIAL_NAME).write_bytes(b"x" * size)
    download.download()
    assert whole(keras) and server.asked == [None]


def test_a_whole_start_needs_no_network(keras, monkeypatch):
    monkeypatch.setattr(sources, "ARCHIVE_URL", "http://127.0.0.1:1/a.tar.gz")
    (keras / PARTIAL_NAME).write_bytes(CONTENT)
    download.download()
    assert whole(keras)


def test_a_server_that_has_less_than_is_here(keras, server):
    (keras / PARTIAL_NAME).write_bytes(CONTENT[:1_500_000])
    server.content = CONTENT[:1_000_000]
    with pytest.raises(DatasetError, match="sent something else.* 1,000,000 bytes"):
        download.download()
    assert kept(keras) == []


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", bytes(len(CONTENT)), CONTENT + b"!"])
def test_something_else_is_never_kept(keras, server, content):
    server.content = content
    with pytest.raises(DatasetError, match="sent something else"):
        download.download()
    assert kept(keras) == []


def test_one_at_a_time(keras, server):
    with filelock.FileLock(keras / f"{PARTIAL_NAME}.lock"):
        with pytest.raises(DatasetError, match="Another process is downloading"):
            download.download()
    assert server.asked == []


def test_no_network(keras, monkeypatch):
    monkeypatch.setattr(sources, "ARCHIVE_URL", "http://127.0.0.1:1/a.tar.gz")
    with pytest.raises(DatasetError, match="Can't fetch .*(?s:.*)Three ways"):
        download.download()
    assert kept(keras) == []

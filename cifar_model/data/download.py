"""Fetch the official archive, go on where a download broke off, verify it."""

from __future__ import annotations

import http.client
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import filelock

from cifar_model.data import find, sources
from cifar_model.data.sources import KERAS_ARCHIVES, THREE_WAYS, sha256_of
from cifar_model.errors import DatasetError

Progress = Callable[[int, int], None]
ARCHIVE_BYTES = 170_498_071
PARTIAL_NAME = "cifar-10-python.tar.gz.partial"  # in Keras's datasets folder, until it is whole and verified
RETRY_SECONDS = 1.0  # after a connection that broke on its way


def partial_download() -> Path | None:
    """What a broken `download` has left to go on from; None if nothing."""
    files = (folder / PARTIAL_NAME for folder in find.keras_folders())
    return next((file for file in files if file.is_file() and file.stat().st_size), None)


def download(progress: Progress | None = None) -> Path:
    """Fetch the official archive to where Keras looks for it, and return its path.

    Written here rather than with keras.utils.get_file, since importing Keras imports TensorFlow, and since that
    one starts anew after a broken connection. What has arrived is kept beside the target, under a name that
    nobody takes for the archive, until it is complete and has the SHA-256 that Keras expects: a connection that
    breaks is taken up again where it broke (RFC 9110, range requests), within this call and by the next one.
    `progress` is called with the bytes so far, those of earlier calls included, and in all.

    Raises DatasetError without network, if another process is at it, or if what arrived is something else.
    """
    folder = _download_folder()
    part, target = folder / PARTIAL_NAME, folder / KERAS_ARCHIVES[0]
    lock = filelock.FileLock(f"{part}.lock", timeout=0)
    try:
        with lock:
            resumed = _size(part) > 0
            _fetch_whole(part, progress)
            if resumed and not _is_official(part):  # the rest did not fit what an earlier call had left
                part.unlink()
                _fetch_whole(part, progress)
            _verify(part)
            os.replace(part, target)
    except filelock.Timeout:
        raise DatasetError("Another process is downloading CIFAR-10 already: wait for it.") from None
    except (OSError, http.client.HTTPException) as error:
        plain = isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError)
        reason = error.reason if plain else error  # "HTTP Error 404: Not Found", "Connection refused"
        arrived = _size(part) / 1e6
        kept = f" {arrived:,.1f} MB have arrived and are kept: the next try goes on there." if arrived else ""
        raise DatasetError(f"Can't fetch {sources.ARCHIVE_URL}: {reason}.{kept}\n{THREE_WAYS}") from error
    return target


def _verify(part: Path) -> None:
    """Delete what is not the official archive, and raise DatasetError."""
    size = _size(part)
    if _is_official(part):
        return
    found = f"{'over ' if size > ARCHIVE_BYTES else ''}{size:,} bytes, SHA-256 {sha256_of(part)}"
    part.unlink()
    raise DatasetError(
        f"{sources.ARCHIVE_URL} sent something else than CIFAR-10: {found}; expected {ARCHIVE_BYTES:,} bytes, "
        f"SHA-256 {sources.ARCHIVE_SHA256}. Try again, or another network."
    )


def _download_folder() -> Path:
    """The first of Keras's folders that can be written to."""
    folders = find.keras_folders()
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    raise DatasetError(f"Can't write to {folders[0]}, Keras's download folder: set KERAS_HOME.")


def _fetch_whole(part: Path, progress: Progress | None) -> None:
    """Fill `part` to its end, asking again for the rest while each connection brings something."""
    while True:
        before = _size(part)
        try:
            _fetch(part, progress)
            return
        except urllib.error.HTTPError as error:
            if error.code != 416 or not before:
                raise
            part.unlink()  # the server has less than we hold: begin anew
        except (OSError, http.client.HTTPException):
            if _size(part) <= before:
                raise
            time.sleep(RETRY_SECONDS)


def _fetch(part: Path, progress: Progress | None) -> None:
    """One connection: append to `part` what it lacks, or all of it from a server that sends no parts."""
    start = _size(part)
    if start >= ARCHIVE_BYTES:
        return
    request = urllib.request.Request(sources.ARCHIVE_URL, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        goes_on = answer.status == 206 and (answer.headers["Content-Range"] or "").startswith(f"bytes {start}-")
        done = start if goes_on else 0
        promised = answer.headers["Content-Length"]
        end = done + int(promised) if promised and promised.isdigit() else None
        with open(part, "ab" if goes_on else "wb") as file:
            while done <= ARCHIVE_BYTES and (chunk := answer.read(1 << 18)):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(min(done, ARCHIVE_BYTES), ARCHIVE_BYTES)
    if end and done < min(end, ARCHIVE_BYTES):  # urllib takes a connection that breaks here for a file's end
        raise ConnectionError(f"the connection broke after {done:,} of {end:,} bytes")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _is_official(file: Path) -> bool:
    return _size(file) == ARCHIVE_BYTES and sha256_of(file) == sources.ARCHIVE_SHA256

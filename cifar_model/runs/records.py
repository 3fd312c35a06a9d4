"""Reading files that another process is writing: whole lines, whole objects."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

_TAIL_BYTES = 65_536


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} if there is none or it is not an object."""
    try:
        content = json.loads(patiently(path.read_bytes))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def patiently(action, *arguments):
    """Try again for a second: on Windows a file that another process holds open can't be read or moved."""
    for _ in range(20 if os.name == "nt" else 0):
        try:
            return action(*arguments)
        except PermissionError:
            time.sleep(0.05)
    return action(*arguments)


def whole_text(path: Path, offset: int) -> tuple[str, int]:
    """The whole lines of a file beyond an offset, and where they end."""
    try:
        with open(path, "rb") as file:
            if offset > file.seek(0, os.SEEK_END):
                offset = 0
            file.seek(offset)
            data = file.read()
    except OSError:
        return "", offset
    end = data.rfind(b"\n") + 1
    return data[:end].decode("utf-8", "replace"), offset + end


def read_lines(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    text, offset = whole_text(path, offset)
    return [record for record in map(_parse, text.splitlines()) if record], offset


def _parse(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:  # a line cut by a crash, later completed by another
        return {}
    return record if isinstance(record, dict) else {}


def last_record(path: Path) -> dict[str, Any]:
    """The newest whole record of a .jsonl file, read from its end; {} if there is none."""
    data = read_tail(path)
    lines = data[: data.rfind(b"\n") + 1].decode("utf-8", "replace").splitlines()
    return next(filter(None, map(_parse, reversed(lines))), {})


def read_tail(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            return file.read()
    except OSError:
        return b""

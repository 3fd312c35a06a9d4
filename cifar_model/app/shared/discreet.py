"""Messages as a visitor may read them: no path of this machine, no log; a number under which the log has all of it."""

import hashlib
import logging
import os
import re
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from cifar_model.app.shared.owner import is_owner
from cifar_model.storage import assets_dir, caches_dir, runs_dir

logger = logging.getLogger(__name__)
_REMEMBERED = 1000  # messages that were logged already

# From the root of a file system to the last name: /home/ann/runs/a, C:\\Users\\Ann, \\\\server\\share. Not https://….
_PATH = re.compile(r"(?<![\w:/\\.~])(?:~?/|[A-Za-z]:[\\/]|\\\\)(?:[^\s'\"`:;,()<>|]+[/\\])+(?=[^\s'\"`:;,()<>|])")
_logged: OrderedDict[str, None] = OrderedDict()


def hide_paths(value: Any) -> Any:
    """A text, or all texts in what a JSON file held, without folders of this machine, unless for an owner."""
    return value if is_owner() else _without_paths(value)


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(part) for part in value]
    return _without(value) if isinstance(value, str) else value


def _without(text: str) -> str:
    for folder in sorted(map(str, _folders()), key=len, reverse=True):
        text = text.replace(folder, "…")
    return _PATH.sub("…/", text)


def _folders() -> list[Path]:
    """Where this machine keeps things; with spaces in them, no pattern finds their ends."""
    folders = [runs_dir(), caches_dir(), assets_dir().parent, Path.home(), Path(tempfile.gettempdir())]
    named = [Path(value) for name in ("CIFAR10_DIR", "CIFAR100_DIR") if (value := os.environ.get(name))]
    return [folder for folder in folders + named if len(folder.parts) > 1]


def number_of(text: str) -> str:
    """A short number for a message: the same for the same words."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:6].upper()


def discreet(message: str) -> str:
    """A message as this visitor may read it: its first line, without paths; all of it for who may do everything."""
    shown = hide_paths(message if is_owner() else message.partition("\n")[0])
    if shown == message:
        return message
    number = number_of(message)
    if number not in _logged:  # a page that is redrawn twice a second says it once
        _logged[number] = None
        if len(_logged) > _REMEMBERED:
            _logged.popitem(last=False)
        logger.warning("[%s] %s", number, message)
    return f"{shown.rstrip()} (Number {number} in the app's log.)"

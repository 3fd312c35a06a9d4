"""Whose a run is: the hash of a key that stays in the browser of whoever started it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cifar_model.runs.records import read_object
from cifar_model.storage import write_json

_FILE = "owner.json"


def fingerprint(key: str) -> str:
    """The hash by which a visitor's key is known; the key itself is never written down."""
    return hashlib.sha256(key.encode()).hexdigest()


def owner_of(run: str | os.PathLike) -> str | None:
    """The fingerprint of whoever started the run of this directory; None for one started in a terminal."""
    owner = read_object(Path(run) / _FILE).get("visitor")
    return owner if isinstance(owner, str) else None


def write_owner(run: str | os.PathLike, owner: str) -> None:
    """Note in a run's directory whose it is."""
    write_json(Path(run) / _FILE, {"visitor": owner})

"""What a run may be called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cifar_model.errors import SettingsError
from cifar_model.storage import runs_dir

if TYPE_CHECKING:
    from cifar_model.training.settings import Settings

MAX_NAME_LENGTH = 60

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")

# Names that Windows keeps for devices, with any extension.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def check_name(name: str) -> str:
    """Return the name of a run if it is safe as a folder's name everywhere; raise SettingsError if not."""
    if not isinstance(name, str) or not name.strip():
        raise SettingsError("The run has no name: give it one of letters, digits, '.', '_' and '-'.")
    shown = name if len(name) <= 80 else name[:77] + "..."
    if len(name) > MAX_NAME_LENGTH:
        raise SettingsError(
            f"The run's name has {len(name)} characters ({shown!r}): at most {MAX_NAME_LENGTH} are allowed."
        )
    if not NAME.fullmatch(name):
        raise SettingsError(
            f"The run's name is {shown!r}: use letters, digits, '.', '_' and '-', beginning with a letter "
            "or a digit and not ending with a dot."
        )
    if _RESERVED.fullmatch(name) or name.lower() in ("lab-net", "seed-cnn"):
        raise SettingsError(f"The name {name!r} is reserved: choose another, for example {name}-1.")
    return name


def new_name(settings: Settings) -> str:
    """The first free name like "lab-net-quick-1" for a run with these settings."""
    stem = f"{settings.network}-{settings.recipe}"
    number = 1
    while (runs_dir() / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"

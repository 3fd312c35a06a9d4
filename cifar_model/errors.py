"""Errors that a person may be shown: each says what arrived, what is allowed and what to do."""

from collections.abc import Callable


class LabError(Exception):
    """Base of every error whose message is written for the person at the screen.

    Pages and the command line catch this class alone; anything else is a bug.
    """

    exit_code = 1
    again: Callable[[], object] | None = None  # tries again what may go well another time, where there is such a thing


class SettingsError(LabError):
    """A setting or an argument is outside what is allowed (exit code 2)."""

    exit_code = 2


class ImageError(LabError):
    """A file or upload is not a picture that can be admitted."""


class DatasetError(LabError):
    """CIFAR-10 is missing, truncated or mixed up."""


class ModelError(LabError):
    """A model directory is missing, unreadable or not one of ours."""


class RunError(LabError):
    """A training run can't be started, found or controlled."""


class WorkerError(LabError):
    """The process that answers for the app is not available right now."""

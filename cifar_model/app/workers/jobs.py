"""What the app's worker processes do: `python -m cifar_model.app.workers.jobs` reads requests and writes replies.

Requests and replies are pickles on the process's own pipes, from and to `process.Worker` alone. What a job needs is
imported with the first of its kind: who decodes pictures holds no network, and is there the sooner.
"""

import logging
import os
import pickle
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np

from cifar_model.errors import LabError, WorkerError

logger = logging.getLogger("cifar_model.worker")


def start_keras() -> None:
    """Import what takes seconds to import."""
    from cifar_model.networks.backend import import_keras

    import_keras()


def read_test() -> Path | tuple[np.ndarray, np.ndarray]:
    """Have CIFAR-10 decoded, which may take a minute: the folder with its arrays, or the test split itself.

    Raises DatasetError as `cache.load_cifar10`.
    """
    from cifar_model.data.cache import cache_entry, load_cifar10
    from cifar_model.data.find import find_source

    _, test = load_cifar10()
    folder = cache_entry(find_source())
    return folder if (folder / "x_test.npy").is_file() else (np.asarray(test[0]), np.asarray(test[1]))


def _from(module: str, name: str) -> Callable:
    """A function of another module, which is imported with the first call."""
    return lambda *arguments: getattr(import_module(f"cifar_model.{module}"), name)(*arguments)


JOBS: dict[str, Callable] = {
    "prepare": _from("app.workers.prepare", "prepare"),
    "prepare_all": _from("app.workers.prepare", "prepare_all"),
    "mix": _from("app.workers.prepare", "mix"),
    "mix_pictures": _from("pictures.ambiguous", "mix_pictures"),
    "answer": _from("app.workers.beliefs", "answer"),
    "explain": _from("app.workers.evidence", "explain"),
    "neighbours_ready": _from("app.workers.evidence", "neighbours_ready"),
    "prepare_neighbours": _from("app.workers.evidence", "prepare_neighbours"),
    "nearest": _from("app.workers.evidence", "nearest"),
    "draw_sweep": _from("app.workers.charts", "draw_sweep"),
    "chart": _from("app.workers.charts", "chart"),
    "read_test": read_test,
    "filters": _from("app.workers.networks", "filters"),
    "activations": _from("app.workers.networks", "activations"),
    "bring": _from("app.workers.inout", "bring"),
    "take": _from("app.workers.inout", "take"),
    "compile": _from("models.compiled", "compile_model"),
    "start_keras": start_keras,
    "hello": lambda: os.getpid(),
}


def main() -> None:
    """Serve until the app closes its end of the pipe, however it ends."""
    logging.basicConfig(level=logging.INFO, format="worker: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the app, which then closes the pipe
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not fall between the replies
    requests = os.fdopen(os.dup(0), "rb")
    while True:
        try:
            job, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = (True, JOBS[job](*arguments))
        except LabError as error:
            reply = (False, error)
        except Exception:
            logger.exception("job %s failed", job)
            reply = (False, WorkerError("Something went wrong here. The app's log has the details."))
        try:
            pickle.dump(reply, replies, pickle.HIGHEST_PROTOCOL)
            replies.flush()
        except OSError:  # nobody reads any more
            return


if __name__ == "__main__":
    # Under its own name too, so that the classes pickled here are those that the app imports.
    from cifar_model.app.workers import jobs

    sys.exit(jobs.main())

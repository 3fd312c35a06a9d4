"""What the app's worker processes do: `python -m cifar_model.app.workers.jobs` reads requests and writes replies.

Requests and replies are pickles on the process's own pipes, from and to `process.Worker` alone. TensorFlow is
imported by the first job that asks a network, Altair by the first that draws.
"""

import logging
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cifar_model.app.workers.beliefs import answer
from cifar_model.app.workers.charts import chart, draw_sweep
from cifar_model.app.workers.evidence import explain, nearest, neighbours_ready, prepare_neighbours
from cifar_model.app.workers.inout import bring, take
from cifar_model.app.workers.networks import activations, filters
from cifar_model.app.workers.prepare import mix, prepare
from cifar_model.data.cache import cache_entry, load_cifar10
from cifar_model.data.find import find_source
from cifar_model.errors import LabError, WorkerError
from cifar_model.models.compiled import compile_model
from cifar_model.networks.backend import import_keras
from cifar_model.pictures.ambiguous import mix_pictures

logger = logging.getLogger("cifar_model.worker")


def start_keras() -> None:
    """Import what takes seconds to import."""
    import_keras()


def read_test() -> Path | tuple[np.ndarray, np.ndarray]:
    """Have CIFAR-10 decoded, which may take a minute: the folder with its arrays, or the test split itself.

    Raises DatasetError as `cache.load_cifar10`.
    """
    _, test = load_cifar10()
    folder = cache_entry(find_source())
    return folder if (folder / "x_test.npy").is_file() else (np.asarray(test[0]), np.asarray(test[1]))


JOBS: dict[str, Callable] = {
    "prepare": prepare,
    "mix": mix,
    "mix_pictures": mix_pictures,
    "answer": answer,
    "explain": explain,
    "neighbours_ready": neighbours_ready,
    "prepare_neighbours": prepare_neighbours,
    "nearest": nearest,
    "draw_sweep": draw_sweep,
    "chart": chart,
    "read_test": read_test,
    "filters": filters,
    "activations": activations,
    "bring": bring,
    "take": take,
    "compile": compile_model,
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

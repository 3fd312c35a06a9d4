"""A process for what takes long and happens seldom, so that nobody's answers wait for it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from cifar_model.app.workers.process import LONG_JOB_SECONDS, Worker


class Workshop:
    """Starts a process with the first job, ends it after the last: with TensorFlow it holds a gigabyte.

    Jobs are done one at a time, first come first served. `start` makes the process.
    """

    def __init__(self, start: Callable[[], Worker]):
        self._start = start
        self._lock = threading.RLock()
        self._worker = None
        self._open = 0

    def submit(self, job: str, *arguments) -> Future:
        """Hand in a job of `workers.jobs`."""
        with self._lock:
            if self._worker is None:
                self._worker = self._start()
            self._open += 1
            try:
                future = self._worker.submit(job, *arguments, seconds=LONG_JOB_SECONDS)
            except Exception:
                self._done(None)
                raise
        future.add_done_callback(self._done)
        return future

    def _done(self, _) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0:
                worker, self._worker = self._worker, None
                # Not from the thread that reads its replies, which is the one that calls this.
                threading.Thread(target=worker.close, daemon=True).start()

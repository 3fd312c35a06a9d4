"""A process that works for the app: TensorFlow lives there, and no session's work stalls another's page.

A plain child process with pickles on its pipes. `multiprocessing` would run the app's script once more in the
child, since Streamlit makes that script the process's `__main__`.
"""

import atexit
import itertools
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

from cifar_model.errors import WorkerError

logger = logging.getLogger(__name__)

STARTS_IN_A_ROW = 4  # as many deaths before a first reply end the tries
SECONDS_BETWEEN_STARTS = 2.0
JOB_SECONDS = 120.0  # no job takes longer, unless the process hangs

RESTARTING = "The process that answers stopped and is being started again. Try again in a few seconds."
BROKEN = "The process that answers can't be started; the app's log says why. Solve that and restart the app."


def threads() -> int:
    """How many threads a worker may use: more than four gain nothing on 32×32 pictures."""
    return max(1, min(4, os.cpu_count() or 1))


def worker_environment() -> dict[str, str]:
    """The child's environment: few threads, and no GPU, which belongs to the trainings."""
    count = str(threads())
    paths = (str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH"))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": "2",
        "OMP_NUM_THREADS": count,
        "CUDA_VISIBLE_DEVICES": "-1",
    }


class Worker:
    """One child process, started at once and again when it dies; does jobs one at a time, first come first served.

    first_job : (job, *arguments) that each process does before any other, to be warm when somebody asks
    command : what to start; by default this package's `jobs`
    """

    def __init__(self, *first_job, command: list[str] | None = None):
        self._first_job = first_job or ("hello",)
        self._command = command or [sys.executable, "-m", "cifar_model.app.workers.jobs"]
        self._lock = threading.Lock()  # guards the books; never held while a pipe is read or written
        self._writing = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: OrderedDict[int, tuple[Future, bytes]] = OrderedDict()
        self._suspects: set[int] = set()  # jobs that the process died of once
        self._process: subprocess.Popen | None = None
        self._ready = threading.Event()
        self._closed = False
        self._deaths = 0
        atexit.register(self.close)
        self._start()

    @property
    def pid(self) -> int | None:
        """The process's id, None between two processes."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def broken(self) -> bool:
        """Whether all tries to start the process have failed."""
        return self._deaths >= STARTS_IN_A_ROW

    def wait(self, seconds: float) -> bool:
        """Whether the process is ready, at the latest after so many seconds; WorkerError if it never will be."""
        if self.broken:
            raise WorkerError(BROKEN)
        return self._ready.wait(seconds)

    def call(self, job: str, *arguments, seconds: float = JOB_SECONDS):
        """Do a job and return its result; raises what the job raised, WorkerError if the process died of it."""
        future = self.submit(job, *arguments)
        try:
            return future.result(seconds)
        except FutureTimeoutError:
            if not future.done():
                logger.error("worker %s did not finish %s in %.0f s", self.pid, job, seconds)
                self._kill()
            raise WorkerError(RESTARTING) from None

    def submit(self, job: str, *arguments) -> Future:
        """Hand in a job; jobs of a process that died are done by the next one."""
        if self.broken or self._closed:
            raise WorkerError(BROKEN)
        future, number = Future(), next(self._numbers)
        request = pickle.dumps((number, job, arguments), pickle.HIGHEST_PROTOCOL)
        with self._lock:
            self._waiting[number] = (future, request)
        self._send(request)
        return future

    def close(self) -> None:
        """End the process; waiting jobs get WorkerError."""
        self._closed = True
        atexit.unregister(self.close)
        self._kill()

    def _kill(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()

    def _send(self, request: bytes) -> None:
        with self._writing:
            process = self._process
            if process is None:
                return  # sent when the next process starts
            try:
                process.stdin.write(request)
                process.stdin.flush()
            except (OSError, ValueError):  # it has just died: the next process gets the request
                pass

    def _start(self) -> None:
        first = next(self._numbers)
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=worker_environment()
        )
        threading.Thread(target=self._read, args=(process, first), daemon=True).start()
        with self._lock:
            self._process = process
            backlog = b"".join(request for _, request in self._waiting.values())
        # A job handed in at this very moment may be sent twice: the second reply is ignored.
        self._send(pickle.dumps((first, *self._split_first_job()), pickle.HIGHEST_PROTOCOL) + backlog)

    def _split_first_job(self) -> tuple:
        job, *arguments = self._first_job
        return job, tuple(arguments)

    def _read(self, process: subprocess.Popen, first: int) -> None:
        while True:
            try:
                number, succeeded, value = pickle.load(process.stdout)
            except Exception:  # the pipe closed, perhaps in the middle of a reply
                break
            if number == first:
                # A first job may fail, say on a broken model: the process itself is fine.
                self._deaths = 0
                self._ready.set()
                continue
            with self._lock:
                future, _ = self._waiting.pop(number, (None, None))
                self._suspects.discard(number)
            if future is not None:
                future.set_result(value) if succeeded else future.set_exception(value)
        self._restart(process)

    def _restart(self, process: subprocess.Popen) -> None:
        self._process = None
        process.stdout.close()
        try:
            process.stdin.close()
        except OSError:
            pass
        code = process.wait()
        was_ready = self._ready.is_set()
        if not was_ready:
            self._deaths += 1
        self._ready.clear()
        given_up: list[Future] = []
        with self._lock:
            if self._closed or self.broken:
                given_up = [future for future, _ in self._waiting.values()]
                self._waiting.clear()
            elif self._waiting and was_ready:
                # Jobs are done in order, so it died of the first: one more try, for it may have been chance.
                number = next(iter(self._waiting))
                if number in self._suspects:
                    self._suspects.discard(number)
                    given_up = [self._waiting.pop(number)[0]]
                else:
                    self._suspects.add(number)
        for future in given_up:
            future.set_exception(WorkerError(BROKEN if self.broken else RESTARTING))
        if self._closed:
            return
        logger.warning("the worker process ended with code %s", code)
        if self.broken:
            return
        if self._deaths:
            time.sleep(SECONDS_BETWEEN_STARTS)
        if not self._closed:
            self._start()

"""Processes that work for the app: TensorFlow lives there, and no session's work stalls another's page.

Plain child processes with pickles on their pipes. `multiprocessing`, and pebble, which rests on it, would run the app's
script once more in each child, since Streamlit makes that script the process's `__main__`; loky wouldn't, but fails all
jobs when one process dies, and knows no time limit.
"""

import atexit
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cifar_model.errors import WorkerError

logger = logging.getLogger(__name__)

STARTS_IN_A_ROW = 4  # as many deaths before a first reply end the tries
SECONDS_BETWEEN_STARTS = 2.0
START_SECONDS = 600.0  # a process that has not replied by then hangs; TensorFlow on a busy machine takes a minute
JOB_SECONDS = 120.0  # no job that a visitor waits for takes longer, unless it hangs
LONG_JOB_SECONDS = 3600.0  # nor one in the background
TRIES = 2  # of a job whose process dies: once may be chance
EXTRA_IDLE_SECONDS = 60.0  # until a process ends that was started because many asked at once

RESTARTING = "The process that answers stopped and is being started again. Try again in a few seconds."
BROKEN = "The process that answers can't be started; the app's log says why. Solve that and try again."


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


@dataclass(eq=False)
class _Job:
    name: str
    request: bytes
    owner: Hashable
    seconds: float
    future: Future = field(default_factory=Future)
    begun: bool = False
    tries: int = 0
    expired: bool = False

    def fail(self, message: str) -> None:
        with suppress(InvalidStateError):  # cancelled
            self.future.set_exception(WorkerError(message))


@dataclass(eq=False)
class _Member:
    """One process at a time and what it is doing; a thread of its own writes to it and reads from it."""

    process: subprocess.Popen | None = None
    ready: bool = False  # has done its first job
    job: _Job | None = None

    def ask(self, request: bytes) -> tuple[bool, object] | None:
        """Whether a job succeeded, and its result or error; None where the process died of it, or before it."""
        process = self.process
        try:
            process.stdin.write(request)
            process.stdin.flush()
            return pickle.load(process.stdout)
        except Exception:  # a pipe was closed, perhaps in the middle of a reply
            process.kill()
            return None

    def end(self) -> int | None:
        """Let the process go, if there is one; its exit code."""
        process, self.process, self.ready = self.process, None, False
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()
        try:
            return process.wait(5)  # it ends when its pipe does
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class Worker:
    """Child processes that do jobs for the app, each one job at a time; one that dies is started again.

    Jobs wait here and not in a pipe, so that a job's time begins with the job, one that nobody waits for any more is
    never begun, and a process that dies or hangs takes one job with it and no other. Owners take turns: however many
    jobs one has handed in, another's first is next.

    first_job : (job, *arguments) that each process does before any other, to be warm when somebody asks
    command : what to start; by default this package's `jobs`
    processes : at most so many; those beyond the first are started when jobs wait, and end soon after
    idle_seconds : without a job for so long, the last process ends too, and starts again with the next job
    at_once : start the first process now, and not with the first job
    owner : for whom the job is that is being handed in; owners take turns
    """

    def __init__(
        self,
        *first_job,
        command: list[str] | None = None,
        processes: int = 1,
        idle_seconds: float | None = None,
        at_once: bool = True,
        owner: Callable[[], Hashable] = lambda: None,
    ):
        name, *arguments = first_job or ("hello",)
        self._first_request = pickle.dumps((name, tuple(arguments)), pickle.HIGHEST_PROTOCOL)
        self._command = command or [sys.executable, "-m", "cifar_model.app.workers.jobs"]
        self._processes, self._idle_seconds, self._owner = processes, idle_seconds, owner
        self._changed = threading.Condition()  # guards all below; never held while a pipe is read or written
        self._lanes: OrderedDict[Hashable, deque[_Job]] = OrderedDict()  # by owner, whose turn it is first
        self._members: list[_Member] = []
        self._closed = False
        self._deaths = 0
        atexit.register(self.close)
        if at_once:
            with self._changed:
                self._add_member()

    @property
    def pid(self) -> int | None:
        """The id of the first process, None where none runs."""
        pids = self.pids
        return pids[0] if pids else None

    @property
    def pids(self) -> list[int]:
        """The ids of all processes."""
        processes = [member.process for member in list(self._members)]
        return [process.pid for process in processes if process is not None and process.poll() is None]

    @property
    def broken(self) -> bool:
        """Whether all tries to start a process have failed."""
        return self._deaths >= STARTS_IN_A_ROW

    def try_again(self) -> None:
        """Start a process once more after all tries have failed."""
        with self._changed:
            if self.broken and not self._closed:
                self._deaths = 0
                self._add_member()

    def wait(self, seconds: float) -> bool:
        """Whether a process is ready, at the latest after so many seconds; WorkerError if none can be started."""
        with self._changed:
            self._check_usable()
            if not self._members:
                self._add_member()
            self._changed.wait_for(lambda: self.broken or any(member.ready for member in self._members), seconds)
            self._check_usable()
            return any(member.ready for member in self._members)

    def call(self, job: str, *arguments, seconds: float = JOB_SECONDS):
        """Do a job and return its result; raises what the job raised, WorkerError as `submit` says."""
        future = self.submit(job, *arguments, seconds=seconds)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # where it is not the job's own error: whoever waited is gone
            raise

    def submit(self, job: str, *arguments, seconds: float = JOB_SECONDS) -> Future:
        """Hand in a job; one that is cancelled before its turn is never begun.

        seconds : from its beginning; if it then isn't done, its process is ended and it gets a WorkerError, which a
            job also gets whose process has died of it twice

        Raises WorkerError where no process can be started.
        """
        entry = _Job(job, pickle.dumps((job, arguments), pickle.HIGHEST_PROTOCOL), self._owner(), seconds)
        with self._changed:
            self._check_usable()
            self._lanes.setdefault(entry.owner, deque()).append(entry)
            idle = sum(member.job is None for member in self._members)  # or about to be ready
            if len(self._members) < self._processes and sum(map(len, self._lanes.values())) > idle:
                self._add_member()
            self._changed.notify_all()
        return entry.future

    def close(self) -> None:
        """End all processes; jobs that are not done get WorkerError."""
        with self._changed:
            self._closed = True
            for member in self._members:
                if member.process is not None:
                    member.process.kill()
            given_up = self._empty_lanes()
            self._changed.notify_all()
        for job in given_up:  # whatever waits for a job is told without the lock
            job.fail(RESTARTING)
        atexit.unregister(self.close)

    # What follows up to `_serve` is called with `_changed` held.

    def _check_usable(self) -> None:
        if self.broken or self._closed:
            error = WorkerError(BROKEN)
            error.again = self.try_again
            raise error

    def _add_member(self) -> None:
        member = _Member()
        self._members.append(member)
        threading.Thread(target=self._serve, args=(member,), daemon=True, name="worker").start()

    def _empty_lanes(self) -> list[_Job]:
        jobs = [job for lane in self._lanes.values() for job in lane]
        self._lanes.clear()
        return jobs

    def _take(self) -> _Job | None:
        while self._lanes:
            owner, lane = self._lanes.popitem(last=False)
            job = lane.popleft()
            if lane:
                self._lanes[owner] = lane  # behind all others
            if job.begun or job.future.set_running_or_notify_cancel():
                job.begun = True
                return job
        return None

    def _put_back(self, job: _Job) -> None:
        self._lanes.setdefault(job.owner, deque()).appendleft(job)
        self._lanes.move_to_end(job.owner, last=False)

    # From here on it isn't.

    def _serve(self, member: _Member) -> None:
        try:
            while self._start(member):
                while job := self._next(member):
                    if not self._do(member, job):
                        break
                else:
                    return
                logger.warning("the worker process ended with code %s", member.end())
        finally:
            member.end()
            with self._changed:
                if member in self._members:  # nobody may wait for a thread that failed
                    self._members.remove(member)

    def _start(self, member: _Member) -> bool:
        """Start a process and wait for its first reply; False where that is given up."""
        while True:
            with self._changed:
                if self._closed:
                    return False
                with suppress(OSError):  # no memory for it, say: counted as a death
                    member.process = subprocess.Popen(
                        self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=worker_environment()
                    )
            if member.process is not None:
                limit = _limit(START_SECONDS, member.process.kill)
                reply = member.ask(self._first_request)
                limit.cancel()
                if reply is not None:  # a first job may fail, say on a broken model: the process itself is fine
                    with self._changed:
                        self._deaths, member.ready = 0, True
                        self._changed.notify_all()
                    return True
            code = member.end()
            with self._changed:
                if self._closed:
                    return False
                logger.warning("the worker process ended with code %s before it was ready", code)
                self._deaths += 1
                if not self.broken:
                    self._changed.wait_for(lambda: self._closed, SECONDS_BETWEEN_STARTS)
                    continue
                self._members.remove(member)
                given_up = [] if any(other.ready for other in self._members) else self._empty_lanes()
                self._changed.notify_all()
            for job in given_up:
                job.fail(BROKEN)
            return False

    def _next(self, member: _Member) -> _Job | None:
        """The job whose turn it is; None where there has been none for so long that the process is to end."""
        since = time.monotonic()
        with self._changed:
            while not self._closed:
                member.job = self._take()
                if member.job is not None:
                    return member.job
                # The first of them stays, or stays longer.
                patience = self._idle_seconds if member is self._members[0] else EXTRA_IDLE_SECONDS
                left = None if patience is None else since + patience - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            self._members.remove(member)  # before anybody counts on it
        return None

    def _do(self, member: _Member, job: _Job) -> bool:
        """Have a job done; whether the process is still there."""
        if member.process.poll() is not None:  # it died while it had nothing to do
            with self._changed:
                member.job, member.ready = None, False
                self._put_back(job)
            return False
        job.tries += 1
        limit = _limit(job.seconds, self._expire, member, job)
        reply = member.ask(job.request)
        limit.cancel()
        with self._changed:
            member.job = None
            if reply is None:
                member.ready = False
                again = not (job.expired or job.tries >= TRIES or self._closed)
                if again:
                    self._put_back(job)
        if reply is None:
            if not again:
                job.fail(RESTARTING)
            return False
        succeeded, value = reply
        with suppress(InvalidStateError):
            job.future.set_result(value) if succeeded else job.future.set_exception(value)
        return True

    def _expire(self, member: _Member, job: _Job) -> None:
        with self._changed:
            if member.job is not job or member.process is None:
                return  # done at the last moment
            job.expired = True
            logger.error("worker %s did not finish %s in %.0f s", member.process.pid, job.name, job.seconds)
            member.process.kill()


def _limit(seconds: float, function, *arguments) -> threading.Timer:
    timer = threading.Timer(seconds, function, arguments)
    timer.daemon = True
    timer.start()
    return timer

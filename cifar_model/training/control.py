"""What the world asks of a run under way: signals and the inbox."""

import math
import signal
import threading
import time
from contextlib import contextmanager

from cifar_model.training.folder import RunDirectory

POLL_SECONDS = 0.2
PAUSE_SECONDS = 1800.0  # so long a pause keeps a place and a gigabyte of memory from others


class Control:
    """What the world asks of a run: signals and the inbox.

    stopping, paused : whether the run is to stop, or to wait
    gave_way : it was paused for so long that it ends, to be continued later
    why : of a stop for which somebody gave a reason, the reason
    queued : it waits for its turn: there is nothing to pause yet
    learning_rate : a rate set by hand that nobody has taken yet
    paused_seconds : spent waiting so far
    """

    def __init__(self, directory: RunDirectory):
        self.directory = directory
        self.stopping = False
        self.paused = False
        self.gave_way = False
        self.why = ""
        self.queued = False
        self.learning_rate: float | None = None
        self.paused_seconds = 0.0

    def poll(self) -> None:
        """Take requests, and wait while paused."""
        self._take()
        began = time.perf_counter()
        while self.paused and not self.stopping:
            time.sleep(POLL_SECONDS)
            self._take()
            if self.paused and time.perf_counter() - began > PAUSE_SECONDS:
                self.gave_way = self.stopping = True
        self.paused_seconds += time.perf_counter() - began

    def _take(self) -> None:
        for request in self.directory.requests():
            action = request.get("action")
            if action == "stop":
                self.stopping, self.why = True, self.why or str(request.get("why", ""))
            elif action == "set-lr" and _is_rate(request.get("value")):
                self.learning_rate = float(request["value"])
            elif action in ("pause", "resume") and not self.queued and self.paused != (action == "pause"):
                self.paused = action == "pause"
                self.directory.set_status("paused" if self.paused else "running")

    @contextmanager
    def signals(self):
        """Ctrl-C and SIGTERM ask to stop; a second Ctrl-C interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number, frame):
            if self.stopping and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.stopping = True

        kinds = [signal.SIGINT, signal.SIGTERM]
        before = {kind: signal.signal(kind, stop) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)


def _is_rate(value) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0

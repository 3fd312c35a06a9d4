"""Work that takes a while, done once for all visitors in small portions, while they look at something else."""

import logging
import threading
from collections.abc import Generator

from cifar_model.errors import LabError

logger = logging.getLogger(__name__)


class Task:
    """Runs a generator in a thread: it yields (done, total) after each portion and returns the result.

    Attributes
    ----------
    done, total : int, portions or pictures, for a progress bar
    result : what the generator returned, None until then
    error : str for a person where it failed, else None
    """

    def __init__(self, work: Generator[tuple[int, int], None, object]):
        self.done, self.total = 0, 1
        self.result, self.error = None, None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Whether it is over, at the latest after so many seconds."""
        self._thread.join(seconds)
        return not self.running

    def _run(self, work) -> None:
        try:
            while True:
                self.done, self.total = next(work)
        except StopIteration as end:
            self.result = end.value
        except LabError as error:
            self.error = str(error)
        except Exception:
            logger.exception("work in the background failed")
            self.error = "Something went wrong here, and it isn't your fault. The app's log has the details."

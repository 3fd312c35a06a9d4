"""The worker process: real processes, no TensorFlow; deaths are real deaths."""

import io
import os
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
from PIL import Image

from cifar_model.app.workers import process
from cifar_model.app.workers.prepare import Picture
from cifar_model.app.workers.process import Worker
from cifar_model.errors import ImageError, WorkerError
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir

CAT = assets_dir() / "samples" / "cat.webp"


@pytest.fixture(scope="module")
def worker():
    made = Worker()
    yield made
    made.close()


def test_does_a_job_in_another_process(worker):
    picture = worker.call("prepare", CAT.read_bytes(), "cat.webp")
    assert isinstance(picture, Picture)
    assert (picture.width, picture.height) == (451, 300)
    np.testing.assert_array_equal(picture.pixels, load_image(CAT))
    assert worker.call("hello") == worker.pid != os.getpid()


def test_raises_what_the_job_raised_and_goes_on(worker):
    with pytest.raises(ImageError, match="notes.txt"):
        worker.call("prepare", b"no picture", "notes.txt")
    with pytest.raises(WorkerError, match="log"):
        worker.call("no such job")
    assert worker.call("hello") == worker.pid


def test_frames_and_their_one_picture_hold_the_same_pixels(worker):
    a, b = load_image(CAT), load_image(assets_dir() / "samples" / "dog.webp")
    frames, png = worker.call("mix", a, b, "average")
    sheet = np.asarray(Image.open(io.BytesIO(png)))
    np.testing.assert_array_equal(sheet.reshape(32, 101, 32, 3).transpose(1, 0, 2, 3), frames)


def test_jobs_of_a_process_that_died_are_done_by_the_next(worker):
    assert worker.wait(30)
    before = worker.pid
    psutil.Process(before).suspend()  # so that it dies with all three unanswered
    jobs = [worker.submit("hello") for _ in range(3)]
    psutil.Process(before).kill()
    answers = {job.result(60) for job in jobs}
    assert len(answers) == 1 and answers != {before}
    assert worker.wait(30)


def test_job_that_kills_the_process_twice_is_given_up():
    deadly = "import os; from cifar_model.app.workers import jobs; jobs.JOBS['die'] = lambda: os._exit(9); jobs.main()"
    worker = Worker(command=[sys.executable, "-c", deadly])
    assert worker.wait(60)
    job, innocent = worker.submit("die"), worker.submit("hello")
    with pytest.raises(WorkerError, match="started again"):
        job.result(60)
    assert innocent.result(60) == worker.pid
    worker.close()


def test_process_that_cannot_start_says_so(monkeypatch):
    monkeypatch.setattr(process, "SECONDS_BETWEEN_STARTS", 0)
    broken = Worker(command=[sys.executable, "-c", "raise SystemExit(3)"])
    waiting = broken.submit("hello")
    with pytest.raises(WorkerError, match="can't be started"):
        waiting.result(60)
    with pytest.raises(WorkerError, match="can't be started"):
        broken.call("hello")
    with pytest.raises(WorkerError, match="can't be started"):
        broken.wait(0)


def test_job_that_hangs_is_ended(worker):
    assert worker.wait(30)
    before = worker.pid
    psutil.Process(before).suspend()
    with pytest.raises(WorkerError, match="started again"):
        worker.call("hello", seconds=0.2)
    assert worker.call("hello") != before


def test_many_threads_large_jobs_and_no_deadlock(worker):
    source = CAT.read_bytes() + bytes(3_000_000)  # far more than a pipe holds
    done = []

    def ask():
        done.append(worker.call("prepare", source, "cat.webp").pixels)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 12
    expected = load_image(CAT)
    assert all((pixels == expected).all() for pixels in done)


def test_process_ends_with_the_app():
    code = (
        "from cifar_model.app.workers.process import Worker\n"
        "w = Worker(); print(w.call('hello'), flush=True); import os; os._exit(1)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

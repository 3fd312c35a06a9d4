"""The worker process: real processes, no TensorFlow; deaths are real deaths."""

import io
import os
import subprocess
import sys
import threading
import time

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


PLAY = """
import os, time
from cifar_model.app.workers import jobs
def play(folder, name, seconds=0.0):
    open(f"{folder}/{name}.begun", "w").close()
    time.sleep(seconds)
    return name
def hang(folder, name):
    open(f"{folder}/{name}.begun", "w").close()
    time.sleep(3600)
def held(folder, name):
    open(f"{folder}/{name}.begun", "w").close()
    while not os.path.exists(f"{folder}/go"):
        time.sleep(0.01)
    return name
jobs.JOBS.update(play=play, hang=hang, held=held, die=lambda: os._exit(9), pid=os.getpid)
jobs.main()
"""


def player(**options) -> Worker:
    return Worker(command=[sys.executable, "-c", PLAY], **options)


def wait_until(true, seconds=120):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_the_clock_begins_with_the_job(tmp_path):
    worker = player()
    assert worker.wait(120)
    pid = worker.pid
    # Each may take 30 s, so that a busy machine fails none; all five together wait for longer than one may take.
    jobs = [worker.submit("play", str(tmp_path), i, 0.3, seconds=30) for i in range(4)]
    jobs.append(worker.submit("play", str(tmp_path), 4, 0.0, seconds=30))
    assert [job.result(120) for job in jobs] == [0, 1, 2, 3, 4]
    first = worker.submit("held", str(tmp_path), "first", seconds=600)
    waiting = worker.submit("play", str(tmp_path), "waiting", 0.0, seconds=30)
    with pytest.raises(TimeoutError):
        waiting.result(0.3)
    assert not waiting.running()  # its clock stands still
    (tmp_path / "go").touch()
    assert (first.result(120), waiting.result(120)) == ("first", "waiting")
    assert worker.pid == pid  # nothing was killed
    worker.close()


def test_a_hung_job_is_ended_and_nobody_elses(tmp_path):
    worker = player()
    assert worker.wait(120)
    hung = worker.submit("hang", str(tmp_path), "hung", seconds=1)
    others = [worker.submit("play", str(tmp_path), i, seconds=60) for i in range(5)]
    with pytest.raises(WorkerError, match="started again"):
        hung.result(120)
    assert [job.result(120) for job in others] == list(range(5))
    worker.close()


def test_a_job_that_nobody_waits_for_is_never_begun(tmp_path):
    worker = player()
    first = worker.submit("held", str(tmp_path), "first")
    wait_until((tmp_path / "first.begun").exists)
    left = worker.submit("play", str(tmp_path), "left")
    last = worker.submit("play", str(tmp_path), "last")
    assert left.cancel()
    (tmp_path / "go").touch()
    assert (first.result(120), last.result(120)) == ("first", "last")
    assert not (tmp_path / "left.begun").exists()
    worker.close()


def test_owners_take_turns(tmp_path):
    who = "many"
    worker = player(owner=lambda: who)
    first = worker.submit("held", str(tmp_path), "first")
    wait_until((tmp_path / "first.begun").exists)
    done: list = []
    jobs = [worker.submit("play", str(tmp_path), f"many {i}") for i in range(20)]
    for who in "ab":
        jobs += [worker.submit("play", str(tmp_path), f"{who} {i}") for i in range(2)]
    for job in jobs:
        job.add_done_callback(lambda job: done.append(job.result()))
    (tmp_path / "go").touch()
    for job in [first, *jobs]:
        job.result(120)
    assert done[:7] == ["many 0", "a 0", "b 0", "many 1", "a 1", "b 1", "many 2"]
    worker.close()


def test_several_work_side_by_side_and_go_again(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "EXTRA_IDLE_SECONDS", 0.2)
    worker = player(processes=2)
    assert worker.wait(120)
    pid = worker.pid
    jobs = [worker.submit("held", str(tmp_path), i) for i in range(2)]
    wait_until(lambda: (tmp_path / "0.begun").exists() and (tmp_path / "1.begun").exists())
    assert len(worker.pids) == 2
    (tmp_path / "go").touch()
    assert [job.result(120) for job in jobs] == [0, 1]
    wait_until(lambda: worker.pids == [pid])
    worker.close()
    wait_until(lambda: not worker.pids)


def test_a_process_without_work_ends_and_starts_when_asked():
    worker = player(idle_seconds=0.3, at_once=False)
    assert worker.pid is None
    first = worker.call("pid")
    wait_until(lambda: worker.pid is None and not psutil.pid_exists(first))
    assert worker.call("pid") != first
    wait_until(lambda: worker.pid is None)
    assert worker.wait(120)  # whoever waits wants one
    worker.close()


def test_one_that_died_while_idle_costs_no_try():
    worker = player()
    assert worker.wait(120)
    psutil.Process(worker.pid).kill()
    wait_until(lambda: worker.pid is None)
    assert worker.call("pid") == worker.pid
    worker.close()


def test_after_failed_starts_it_can_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "SECONDS_BETWEEN_STARTS", 0)
    code = f"import os; os.path.exists({str(tmp_path / 'mended')!r}) or os._exit(3)\n{PLAY}"
    worker = Worker(command=[sys.executable, "-c", code])
    with pytest.raises(WorkerError, match="try again") as error:
        worker.call("pid")
    wait_until(lambda: worker.broken)
    with pytest.raises(WorkerError):
        worker.submit("pid")
    (tmp_path / "mended").touch()
    with pytest.raises(WorkerError) as error:
        worker.wait(0)
    error.value.again()
    assert worker.call("pid") == worker.pid
    worker.close()


def test_closing_fails_what_waits(tmp_path):
    worker = player()
    running = worker.submit("hang", str(tmp_path), "running")
    waiting = worker.submit("play", str(tmp_path), "waiting")
    wait_until((tmp_path / "running.begun").exists)
    worker.close()
    for job in (running, waiting):
        with pytest.raises(WorkerError):
            job.result(60)
    with pytest.raises(WorkerError):
        worker.submit("pid")

"""Sweeps: begun once, shared, given up when nobody looks."""

import gc
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from cifar_model.answering.answer import Answer
from cifar_model.app.shared import sweeping
from cifar_model.app.shared.sweeping import AT_A_TIME, NICE, Looking, Sweep, Sweeps
from cifar_model.errors import WorkerError

FRAMES = np.random.default_rng(0).integers(0, 256, (101, 32, 32, 3), np.uint8)


def mean_of(_, frames) -> Answer:
    """An answer that tells which frames were asked for."""
    return Answer(*2 * [frames.reshape(len(frames), -1).mean(1, dtype=np.float32)[:, None]])


class Counting:
    """Answers when `go` is set; counts how many frames it was asked for."""

    def __init__(self):
        self.go, self.asked = threading.Event(), 0

    def ask(self, model, frames):
        self.asked += len(frames)
        assert self.go.wait(60)
        return mean_of(model, frames)


@pytest.fixture
def counting():
    counting = Counting()
    yield counting
    counting.go.set()


def test_all_frames_are_answered_in_their_order():
    sweep = Sweep(Path("m"), FRAMES, mean_of)
    assert sweep.wait(60) and sweep.complete and sweep.done == len(FRAMES)
    np.testing.assert_array_equal(sweep.answer().raw, mean_of(None, FRAMES).raw)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux alone")
def test_its_threads_step_back():
    seen = []

    def ask(model, frames):
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return mean_of(model, frames)

    assert Sweep(Path("n"), FRAMES, ask).wait(60)
    assert set(seen) == {NICE}


def test_two_visitors_share_one_and_the_next_finds_it(counting):
    sweeps, models = Sweeps(counting.ask), [(Path("shared"), None)]
    visits = [Looking(sweeps), Looking(sweeps)]
    (mine,), (yours,) = visits[0].at(models, FRAMES), visits[1].at(models, FRAMES.copy())
    assert mine is yours and not mine.wait(0)
    counting.go.set()
    assert mine.wait(60)
    visits.clear()
    later = Looking(sweeps)
    assert later.at(models, FRAMES) == [mine] and mine.complete
    assert counting.asked == len(FRAMES)


def test_given_up_when_the_last_visit_looks_at_something_else(counting):
    sweeps, model = Sweeps(counting.ask), (Path("left"), None)
    one, other = Looking(sweeps), Looking(sweeps)
    (first,), _ = one.at([model], FRAMES), other.at([model], FRAMES)
    other.at([], FRAMES)
    assert one.at([model], FRAMES) == [first] and len(sweeps) == 1  # somebody still looks
    (next_one,) = one.at([model], FRAMES[::-1])
    assert len(sweeps) == 1 and first.failed and not first.complete
    counting.go.set()
    assert next_one.wait(60)
    (again,) = one.at([model], FRAMES)
    assert again is not first and again.wait(60)
    assert counting.asked < 3 * len(FRAMES) - AT_A_TIME  # most of the first was never asked for


def test_given_up_when_the_visit_ends(counting):
    sweeps = Sweeps(counting.ask)
    visit = Looking(sweeps)
    (sweep,) = visit.at([(Path("gone"), None)], FRAMES)
    del visit
    gc.collect()
    assert len(sweeps) == 0 and sweep.failed


def test_another_version_of_a_model_is_asked_anew(counting):
    counting.go.set()
    visit = Looking(Sweeps(counting.ask))
    (before,) = visit.at([(Path("trains"), (1, 1))], FRAMES)
    (after,) = visit.at([(Path("trains"), (2, 1))], FRAMES)
    assert before is not after and after.wait(60)


def test_a_failure_is_told_and_begun_anew():
    fails = True

    def ask(model, frames):
        if fails:
            raise WorkerError("The network's process has died.")
        return mean_of(model, frames)

    visit, model = Looking(Sweeps(ask)), (Path("failing"), None)
    (sweep,) = visit.at([model], FRAMES)
    with pytest.raises(WorkerError, match="has died"):
        sweep.wait(60)
    fails = False
    (again,) = visit.at([model], FRAMES)
    assert again is not sweep and again.wait(60) and again.complete


def test_no_more_are_kept_than_are_wanted(counting, monkeypatch):
    monkeypatch.setattr(sweeping, "KEPT", 3)
    counting.go.set()
    sweeps = Sweeps(counting.ask)
    visit = Looking(sweeps)
    for number in range(6):
        (sweep,) = visit.at([(Path("many"), (number, 0))], FRAMES[:7])
        assert sweep.wait(60)
    assert len(sweeps) <= 4 and visit.at([(Path("many"), (5, 0))], FRAMES[:7]) == [sweep]


def test_a_sweep_gives_way_to_who_waits_for_one_answer_and_to_a_crowd_but_not_for_ever(counting, monkeypatch):
    monkeypatch.setattr(sweeping, "GIVES_WAY", 3600)
    counting.go.set()
    sweeps = Sweeps(counting.ask)
    visit = Looking(sweeps)
    with sweeps.first():
        (sweep,) = visit.at([(Path("waits"), None)], FRAMES)
        assert not sweep.wait(0.3) and not counting.asked
    assert sweep.wait(60)

    asked = counting.asked
    monkeypatch.setattr(sweeping, "CROWD_SECONDS", 3600)
    for _ in range(sweeping.CROWD):
        with sweeps.first():
            pass
    (sweep,) = visit.at([(Path("waits"), 2)], FRAMES)
    assert not sweep.wait(0.3) and counting.asked == asked
    monkeypatch.setattr(sweeping, "CROWD_SECONDS", 0)
    assert sweep.wait(60)

    monkeypatch.setattr(sweeping, "GIVES_WAY", 0.01)
    with sweeps.first():
        (sweep,) = visit.at([(Path("waits"), 3)], FRAMES)
        assert sweep.wait(60)

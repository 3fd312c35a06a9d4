"""Sweeps: begun once, shared, given up when nobody looks."""

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import streamlit as st

from cifar_model.answering.answer import Answer
from cifar_model.app.shared import resources
from cifar_model.app.shared.sweeping import AT_A_TIME, NICE, Sweep
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
def counting(monkeypatch):
    counting = Counting()
    monkeypatch.setattr(resources, "answering", lambda: counting)
    monkeypatch.setattr(resources, "version", lambda model: (0, 0))
    st.cache_resource.clear()
    yield counting
    counting.go.set()
    st.cache_resource.clear()


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
    model = Path("shared")
    with resources.sweep(model, FRAMES) as mine, resources.sweep(model, FRAMES.copy()) as yours:
        assert mine is yours and not mine.wait(0)
        counting.go.set()
        assert mine.wait(60)
    with resources.sweep(model, FRAMES) as later:
        assert later is mine and later.complete
    assert counting.asked == len(FRAMES)


def test_given_up_when_the_last_visitor_has_left(counting):
    model = Path("left")
    with resources.sweep(model, FRAMES) as first:
        with resources.sweep(model, FRAMES):
            pass
        assert resources._sweeps()  # somebody still looks
    assert not resources._sweeps() and not first.complete
    counting.go.set()
    with resources.sweep(model, FRAMES) as again:
        assert again is not first and again.wait(60)
    assert counting.asked < 2 * len(FRAMES) - AT_A_TIME  # most of the first was never asked for


def test_a_failure_is_told_and_not_kept(counting, monkeypatch):
    def fail(model, frames):
        raise WorkerError("The network's process has died.")

    model = Path("failing")
    monkeypatch.setattr(counting, "ask", fail)
    with pytest.raises(WorkerError, match="has died"), resources.sweep(model, FRAMES) as sweep:
        sweep.wait(60)
    assert not resources._sweeps()

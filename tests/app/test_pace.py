"""How often watchers look; the oracle is a crowd that is counted by hand."""

import pytest

from cifar_model.app.train import pace


class Context:
    def __init__(self, session_id):
        self.session_id = session_id


@pytest.fixture
def crowd(monkeypatch):
    """`crowd.arrive(name)`: a visitor comes at `crowd.now`, and is told how often to look."""

    class Crowd:
        now, looks = 100.0, {}

        def arrive(self, name):
            monkeypatch.setattr(pace, "get_script_run_ctx", lambda **_: Context(name))
            monkeypatch.setattr(pace, "time", self)
            seconds = pace.seconds_between_looks()
            pace.note_look()
            return seconds

        def monotonic(self):
            return self.now

    crowd = Crowd()
    monkeypatch.setattr(pace, "_looks", lambda: crowd.looks)
    return crowd


def test_a_crowd_looks_less_often(crowd):
    seconds = [crowd.arrive(f"visitor {number}") for number in range(30)]
    assert seconds == [0.5] * 4 + [1.0] * 4 + [1.5] * 4 + [2.0] * 18


def test_nobody_is_counted_twice_and_who_has_left_not_at_all(crowd):
    assert [crowd.arrive("the same") for _ in range(9)] == [0.5] * 9
    for number in range(8):
        crowd.arrive(number)
    crowd.now += pace.LOOKED_SECONDS + 1
    assert crowd.arrive("late") == 0.5 and list(crowd.looks) == ["late"]

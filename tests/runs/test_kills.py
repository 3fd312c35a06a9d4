"""Ends that nobody has chosen: kill -9 at random moments."""

import os
import random
import subprocess
import sys
import time

import psutil
import pytest
from helpers import REPOSITORY

from benchmarks.kills import kill_trainers, tiny_settings
from cifar_model.runs.read import read_run

pytestmark = [
    pytest.mark.training,
    pytest.mark.skipif(os.name == "nt", reason="Windows has neither kill -9 nor forked processes"),
]


def test_a_run_that_is_killed_ten_times_is_that_which_nobody_has_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path))
    kills = 9
    moments = kill_trainers(tmp_path, tiny_settings("mini", 40), kills, random.Random(0))
    assert sum(moments.values()) == kills and moments["before its first epoch"] < kills / 2


def test_a_training_goes_on_when_the_app_that_started_it_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path))
    code = """
import os, time
from benchmarks.kills import tiny_settings
from cifar_model.runs.start import start_run
if hasattr(os, "SCHED_IDLE"):
    del os.SCHED_IDLE  # beside other tests its turn would not come
start_run(tiny_settings("mini", 1), "orphan")
print("started", flush=True)
time.sleep(600)
"""
    app = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert app.stdout.readline() == b"started\n"
    psutil.Process(app.pid).kill()
    app.communicate()
    while (run := read_run("orphan")).is_live:
        time.sleep(0.1)
    assert run.state == "finished", run.message

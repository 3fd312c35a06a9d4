"""Tables and progress, as a terminal and as a pipe get them."""

import os
import subprocess
import sys

import pytest
from helpers import REPOSITORY

from cifar_model.cli.output import drawn_share, show_table
from cifar_model.cli.progress import StagesDisplay, TrainingDisplay, progress_bar

RECORD = {"epoch": 2, "epochs": 3, "step": 5, "steps": 10, "loss": 0.75, "accuracy": 0.625, "images_per_second": 1234.5}
RECORD |= {"seconds_left": 95}
ROW = {"epoch": 2, "loss": 0.5, "accuracy": 0.75, "val_loss": 0.25, "val_accuracy": 0.875, "learning_rate": 0.003}
ROW |= {"images_per_second": 1234.5, "seconds": 12.2}


def test_a_table_is_aligned_and_never_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    long = "x" * 150
    show_table(
        ("NAME", "STATE", "N"), [("a", "on", "7"), (long, "[red]off", "1,000"), ("b\x1b[31m", "é", "10")], left=2
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["NAME", "STATE", "N"],
        ["a", "on", "7"],
        [long, "[red]off", "1,000"],
    ]
    assert len({line.index(cell) for line, cell in zip(lines, ("STATE", "on", "[red]", "é"), strict=True)}) == 1
    assert len({len(line) for line in lines}) == 1  # the last column ends at one place
    assert "\x1b" not in lines[3] and "b\ufffd[31m" in lines[3]


def test_a_share_is_drawn_as_long_as_it_is_large(capsys):
    show_table(("", ""), [(str(part), drawn_share(part)) for part in (0.0, 0.5, 1.0)])
    drawn = [line.count("█") for line in capsys.readouterr().out.splitlines()]
    assert drawn[-3:] == [0, 15, 30]


def test_lines_of_a_training_where_there_is_no_terminal(capsys):
    with TrainingDisplay(every=0) as display:
        display("note", {"message": "Run [x]"})
        display("progress", RECORD)
        display("epoch", ROW)
    assert capsys.readouterr().out.splitlines() == [
        "Run [x]",
        "epoch 2/3, step 5/10: loss 0.7500, accuracy 62.5 %, 1,234 images/s, 1 min 35 s left",
        "epoch 2 done: loss 0.5000, accuracy 75.0 %, validation loss 0.2500, validation accuracy 87.5 %, "
        "learning rate 0.003, 1,234 images/s, 12 s",
    ]
    with progress_bar(10) as bar, StagesDisplay() as stages:
        bar.update(3)
        bar.reach(10)
        stages("note", {"message": "note"})
        stages("progress", {"stage": "one", "done": 2, "total": 2, "text": ""})
    assert capsys.readouterr().err.splitlines() == ["note", "one: 2/2"]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are Unix's")
def test_bars_on_a_terminal():
    import pty

    code = f"""
from cifar_model.cli.progress import *
with TrainingDisplay() as display:
    display("progress", {RECORD}); display("note", {{"message": "Run [x]"}}); display("epoch", {ROW})
with progress_bar(10) as bar:
    bar.reach(5)
with StagesDisplay() as stages:
    stages("progress", {{"stage": "one", "done": 1, "total": 2, "text": "half"}})
"""
    main, child = pty.openpty()
    environment = os.environ | {"COLUMNS": "120", "TERM": "xterm", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=child, stderr=child, env=environment)
    os.close(child)
    shown = b""
    try:
        while part := os.read(main, 65536):
            shown += part
    except OSError:  # Linux's way to say that the other end is closed
        pass
    assert process.wait() == 0, shown
    text = shown.decode()
    for expected in ("epoch 2/3", "62.5 %", "Run [x]", "epoch 2 done: loss 0.5000", "5/10", "half"):
        assert expected in text

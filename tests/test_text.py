"""Numbers in words: one number has one text, in Python and in the browser."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cifar_model.text import duration, escape_markdown, percent, printable, proportion, share

BASE = Path(__file__).resolve().parents[1] / "cifar_model/app/browser/base/base.js"


@pytest.mark.parametrize(
    ("counted", "digits", "text"),
    [(0, 1, "0 %"), (1, 2, "100 %"), (0.0004, 1, "< 0.1 %"), (0.0005, 1, "0.1 %"), (0.00004, 2, "< 0.01 %")]
    + [(0.9169, 1, "91.7 %"), (0.9169, 2, "91.69 %"), (0.99999, 1, "99.9 %"), (0.004, 0, "< 1 %"), (0.99999, 0, "99 %")]
    + [(None, 1, "–"), (float("nan"), 1, "–"), (np.float32(0.5), 0, "50 %")],
)
def test_share(counted, digits, text):
    assert share(counted, digits) == text


def test_a_number_is_never_both_nothing_and_little():
    for value in np.concatenate([[0.0, 1.0], np.logspace(-9, 0, 2000)]):
        said = {percent(value), share(value), share(value, 0)}
        assert "0.0 %" not in said
        assert ("0 %" in said) == (value == 0) and ("100 %" in said) == (value == 1)


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_the_browser_says_the_same():
    values = [0, *np.logspace(-5, 0, 500).tolist(), *np.linspace(0.0003, 0.9999, 401).tolist(), 1]
    begin = BASE.read_text(encoding="utf-8").split("\n};")[0] + "\n};"
    code = f"{begin}\nconsole.log(JSON.stringify({json.dumps(values)}.map(percent)))"
    found = json.loads(subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True).stdout)
    assert found == [percent(v) for v in values]


@pytest.mark.parametrize(("ratio", "text"), [(0.29, "29 %"), (0.125, "12.5 %"), (1, "100 %"), (0.005, "0.5 %")])
def test_proportion(ratio, text):
    assert proportion(ratio) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (1200, "20 min"), (7500, "2 h 5 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_names_stay_letters():
    assert escape_markdown("*a*_b_ <i>") == r"\*a\*\_b\_ \<i\>"
    assert printable("a\x1b[2Jb\n") == "a\ufffd[2Jb\ufffd"

"""CSV as spreadsheets want it, and the folders that the environment names."""

import csv
import io
import os
import subprocess
import sys

import pytest
from helpers import REPOSITORY

from cifar_model.errors import LabError
from cifar_model.storage import CsvWriter, caches_dir, csv_bytes, csv_file, keep_newest, runs_dir

ROWS = [["=1+1", 0.5, None], ["älter, „neu“\n", -0.25, True], ["@x", 1e-9, "-"]]
SAFE = [["'=1+1", "0.5", ""], ["älter, „neu“\n", "-0.25", "True"], ["'@x", "1e-09", "'-"]]


def test_a_spreadsheet_reads_it_and_runs_nothing(tmp_path):
    with csv_file(tmp_path / "a.csv", ["name", "p", "x"]) as writer:
        for row in ROWS:
            writer.write(row)
    data = (tmp_path / "a.csv").read_bytes()
    assert data == csv_bytes(["name", "p", "x"], ROWS) and data.startswith(b"\xef\xbb\xbfname,")
    assert list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))) == [["name", "p", "x"], *SAFE]


def test_a_pipe_gets_names_as_they_are(capsys):
    CsvWriter(sys.stdout, ["name"], spreadsheet=False).write(["=x.png"])
    assert capsys.readouterr().out == "name\n=x.png\n"


def test_nothing_is_left_of_half_a_file(tmp_path):
    (tmp_path / "a.csv").write_text("before")
    with pytest.raises(ZeroDivisionError), csv_file(tmp_path / "a.csv", ["x"]) as writer:
        writer.write([1 / 0])
    assert (tmp_path / "a.csv").read_text() == "before" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(LabError, match="it is a folder"), csv_file(tmp_path, ["x"]):
        pass


def test_csv_sent_to_a_file_is_for_spreadsheets_and_in_a_pipe_for_programs(tmp_path):
    code = "from cifar_model.storage import csv_stdout; csv_stdout(['a', 'b']).write(['=1+1', 'Grüße'])"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code]
    with open(tmp_path / "answers.csv", "wb") as file:
        subprocess.run(command, stdout=file, env=environment, check=True)
    assert (tmp_path / "answers.csv").read_bytes() == csv_bytes(["a", "b"], [["=1+1", "Grüße"]])
    with open(tmp_path / "answers.csv", "ab") as file:  # behind what is there: no second byte order mark
        subprocess.run(command, stdout=file, env=environment, check=True)
    assert (tmp_path / "answers.csv").read_bytes().count(b"\xef\xbb\xbf") == 1
    piped = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True).stdout
    assert piped.decode("latin-1").splitlines() == ["a,b", "=1+1,Grüße"]


@pytest.mark.parametrize(("variable", "find"), [("CIFAR_LAB_RUNS", runs_dir), ("CIFAR_LAB_CACHE", caches_dir)])
def test_a_home_folder_that_nobody_has_is_told(monkeypatch, variable, find):
    monkeypatch.setenv(variable, "~nobody-of-this-name/lab")
    with pytest.raises(LabError, match=variable):
        find()


def test_the_newest_files_are_kept(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.tflite").touch()
        os.utime(tmp_path / f"{number}.tflite", (number, number))
    (tmp_path / "other.json").touch()
    keep_newest(tmp_path / "0.tflite", 3)  # the one just made stays, whatever its time says
    assert {file.name for file in tmp_path.iterdir()} == {"0.tflite", "3.tflite", "4.tflite", "other.json"}

"""What is on disk, what may go, and what the command and the quota do about it."""

import json
import os
import time

import pytest
from click.testing import CliRunner

from cifar_model.__main__ import main
from cifar_model.errors import RunError, SettingsError
from cifar_model.runs import start
from cifar_model.runs.disk import QUOTA, cache_items, check_quota, quota, run_items, sweep
from cifar_model.training.settings import default_settings
from tests.runs.test_runs import home, write_run  # noqa: F401

DAY = 86_400


def aged(path, days):
    """A file or folder that nobody has used for so many days."""
    then = time.time() - days * DAY
    for one in [path, *path.rglob("*")] if path.is_dir() else [path]:
        os.utime(one, (then, then))
    return path


def write(path, size, days=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return aged(path, days)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def clean(*arguments):
    result = CliRunner().invoke(main, ["clean", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_everything_is_counted_once(home, cache):  # noqa: F811
    write(cache / "cifar10" / "abc" / "x_train.npy", 3000, days=2)
    write(cache / "cifar10" / "features" / "f.npy", 500)
    write(cache / "cifar10" / "known" / "0123", 64)
    write(cache / "cifar10" / "abc.lock", 0)
    write(cache / "compiled" / "n.tflite", 700)
    write(cache / "somebody-elses" / "letter.txt", 900)
    path = write_run(home, "one", state="finished")
    (home / ".deleted-1").mkdir()
    (path / "link").symlink_to(cache)  # not followed
    sizes = {item.name: item.size for item in cache_items()}
    folder = (cache / "cifar10" / "abc").stat().st_size
    assert sizes == {"cifar10/abc": 3000 + folder, "cifar10/features/f.npy": 500, "compiled/n.tflite": 700}
    assert {item.name for item in run_items()} == {"one", ".deleted-1"}
    assert next(item for item in cache_items() if item.name == "compiled/n.tflite").days < 0.1


def test_the_command_says_what_may_go_and_deletes_only_with_yes(home, cache):  # noqa: F811
    old = write(cache / "cifar10" / "abc" / "x_train.npy", 3000).parent
    aged(old, 31)
    new = write(cache / "compiled" / "n.tflite", 700, days=29)
    visit = write(cache / "visits" / "v1" / "a", 10).parent
    aged(visit, 2)
    run = aged(write_run(home, "one", state="finished"), 400)
    said = clean()
    assert "Nothing was deleted. With --yes 2 would be" in said and "cifar10/abc" in said and old.exists()
    plain = json.loads(clean("--json"))
    assert {item["name"] for item in plain["items"] if item["goes"]} == {"cifar10/abc", "visits/v1"}
    assert plain["deleted_bytes"] == 0 and plain["quota_bytes"] is None
    assert "Deleted: 2" in clean("--yes") and not old.exists() and not visit.exists() and new.exists() and run.exists()
    assert "Nothing to delete" in clean()
    clean("--caches", "--yes")
    assert not new.exists() and run.exists()


def test_runs_go_only_where_asked_and_never_while_they_train(home, cache):  # noqa: F811
    ended = aged(write_run(home, "ended", state="finished"), 40)
    busy = aged(write_run(home, "busy", state="running"), 40)
    fresh = write_run(home, "fresh", state="finished")
    assert clean("--runs-older-than", "30").count("can go") == 1
    clean("--runs-older-than", "30", "--yes")
    assert not ended.exists() and busy.exists() and fresh.exists()


def test_a_quota_refuses_new_runs_after_the_oldest_caches_have_gone(home, cache, monkeypatch):  # noqa: F811
    monkeypatch.setenv(QUOTA, "0.000010")  # 10 kB
    run = write_run(home, "one", state="stopped")
    used = sum(item.size for item in run_items())
    first = write(cache / "compiled" / "a.tflite", 4000, days=9)
    second = write(cache / "compiled" / "b.tflite", 10_000 - used - 1, days=5)
    check_quota()
    assert not first.exists() and second.exists()
    (run / "model.keras").write_bytes(b"x" * 10_000)
    for begin in (lambda: start.start_run(default_settings(), "two"), lambda: start.resume_run("one")):
        with pytest.raises(RunError, match=r"of the 0\.0 MB that they may \(CIFAR_LAB_DISK_GB\)"):
            begin()
    assert not second.exists() and not (home / "two").exists()


def test_what_was_used_today_is_not_cleared_for_the_quota(home, cache, monkeypatch):  # noqa: F811
    monkeypatch.setenv(QUOTA, "0.000001")
    used = write(cache / "compiled" / "a.tflite", 4000, days=0.5)
    sweep()
    assert used.exists()
    with pytest.raises(RunError):
        check_quota()


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "inf"])
def test_a_quota_that_is_none(monkeypatch, text):
    monkeypatch.setenv(QUOTA, text)
    with pytest.raises(SettingsError, match="number of gigabytes"):
        quota()

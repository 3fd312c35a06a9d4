"""What a training takes of memory, and that what can't fit is refused with the number."""

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from cifar_model.__main__ import main
from cifar_model.errors import SettingsError
from cifar_model.networks.size import layer_table, training_bytes
from cifar_model.runs import memory as memory_module
from cifar_model.runs import start
from cifar_model.runs.memory import check_memory, estimate_memory, memory
from cifar_model.training.settings import Settings
from tests.runs.test_queue import launched  # noqa: F401
from tests.runs.test_runs import home, write_run  # noqa: F401

GB = 10**9
LARGE = Settings(network="custom", filters=(256, 256, 256, 256), batch_size=2048)


@pytest.mark.parametrize(
    ("network", "batch_size", "filters", "measured"),
    [
        ("seed-cnn", 128, None, 0.865), ("seed-cnn", 1024, None, 1.551), ("lab-net", 64, None, 0.988),
        ("lab-net", 256, None, 1.324), ("custom", 512, (64,), 1.730), ("custom", 128, (128, 128), 1.299),
        ("custom", 64, (256, 256, 256, 256), 1.292),
    ],
)  # fmt: skip
def test_the_estimate_is_above_what_was_measured_and_not_far(network, batch_size, filters, measured):
    shape = {"filters": filters} if filters else {}
    assert measured * GB <= training_bytes(network, batch_size, **shape) <= 1.8 * measured * GB


def test_it_grows_with_the_batch_by_all_layers_values():
    values = sum(a * b * c for a, b, c in (r["output"] for r in layer_table("seed-cnn") if len(r["output"]) == 3)) + 74
    assert training_bytes("seed-cnn", 101) - training_bytes("seed-cnn", 1) == 100 * 14 * values
    assert estimate_memory(LARGE) > 10 * GB


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_module, "_CGROUP", tmp_path)
    monkeypatch.setattr(
        memory_module.psutil, "virtual_memory", lambda: SimpleNamespace(available=20 * GB, total=24 * GB)
    )
    assert memory() == (20 * GB, 24 * GB)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text(f"{GB}\n")
    assert memory() == (20 * GB, 24 * GB)
    (tmp_path / "memory.max").write_text(f"{3 * GB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {GB // 2}\n")
    assert memory() == (3 * GB - GB + GB // 2, 3 * GB)


def test_what_cannot_fit_is_refused_with_the_number(home, launched, monkeypatch):  # noqa: F811
    monkeypatch.setattr(memory_module, "memory", lambda: (2 * GB, 8 * GB))
    with pytest.raises(
        SettingsError, match=r"needs about \d+\.\d GB of memory, and 2\.0 GB are free: .* fewer filters"
    ):
        start.start_run(LARGE, "large")
    assert not (home / "large").exists() and not launched
    middle = Settings(network="seed-cnn", batch_size=2048)  # between what is free and what there is
    assert 2 * GB < estimate_memory(middle) < 8 * GB
    with pytest.raises(SettingsError, match="smaller batch size than 2048"):
        start.start_run(middle, "middle")
    write_run(home, "busy", state="running")
    start.start_run(middle, "middle", queue=True)  # in its turn the other's memory is free again
    with pytest.raises(SettingsError, match=r"8\.0 GB are there"):
        check_memory(LARGE, waits=True)
    result = CliRunner().invoke(main, ["train", "--network", "custom", "--filters", "256,256,256,256",
                                       "--batch-size", "2048", "--data", "mini", "--queue"])  # fmt: skip
    assert result.exit_code == 2 and "GB of memory" in result.output

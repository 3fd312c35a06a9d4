"""Who may import whom: proved in fresh processes, for what a test process has loaded already hides the rest."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_model.networks.litert import litert_available
from cifar_model.storage import assets_dir

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cifar_model"
HEAVY = ("tensorflow", "keras", "jax", "torch")


def loaded_after(code: str, **environment: str) -> set[str]:
    """The top-level modules that a fresh Python holds after running `code`."""
    code += "\nimport sys; print('LOADED', *{name.split('.')[0] for name in sys.modules})"
    env = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("LOADED")[1].split())


def test_importing_the_package_loads_neither_tensorflow_nor_streamlit():
    assert not loaded_after("import cifar_model") & {*HEAVY, "streamlit", "pandas", "altair", "PIL"}


def test_a_command_without_ray_imports_nothing_of_it():
    code = f"""
import importlib
from click.testing import CliRunner
from cifar_model.__main__ import COMMANDS, main
for module, _ in COMMANDS.values():
    importlib.import_module("cifar_model.cli." + module)
done = CliRunner().invoke(main, ["classify", {str(assets_dir() / "samples" / "cat.webp")!r}])
assert done.exit_code == 0, done.output
"""
    assert not loaded_after(code, RAY_ADDRESS="nowhere.invalid:6379") & {"ray"}


def test_nothing_below_the_app_imports_streamlit():
    modules = [p for p in PACKAGE.rglob("*.py") if "app" not in p.relative_to(PACKAGE).parts]
    assert len(modules) > 15
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] != "streamlit" and not name.startswith("cifar_model.app"), path


def test_worker_process_loads_no_streamlit():
    names = [path.stem for path in (PACKAGE / "app" / "workers").glob("*.py")]
    assert "jobs" in names
    code = "".join(f"import cifar_model.app.workers.{name}\n" for name in names if name != "__init__")
    assert "streamlit" not in loaded_after(code)


def test_who_decodes_pictures_loads_nothing_that_answers():
    code = """
import sys
from pathlib import Path
from cifar_model.app.workers.jobs import JOBS
assert JOBS["prepare"](Path("assets/samples/dog.webp"), "dog").pixels.shape == (32, 32, 3)
assert not [name for name in sys.modules if name.startswith(("cifar_model.answering", "cifar_model.networks"))]
"""
    assert not loaded_after(code) & {"pandas", "altair"}


def test_pages_without_a_table_load_no_pandas(tmp_path):
    code = """
from streamlit.testing.v1 import AppTest
at = AppTest.from_file("streamlit_app.py", default_timeout=400).run()
for page in ("blend", "live", "train", "classify"):
    at.switch_page(f"pages/{page}.py").run()
    assert not at.exception, at.exception
"""
    loaded = loaded_after(code, CIFAR_LAB_RUNS=str(tmp_path / "runs"), CIFAR_LAB_CACHE=str(tmp_path / "cache"))
    assert not loaded & {"pandas", "pyarrow"}  # a second between the first text and the first answer


@pytest.mark.skipif(not list((assets_dir() / "models").glob("*")), reason="no bundled model in this checkout")
def test_app_process_never_imports_tensorflow(tmp_path):
    code = """
from streamlit.testing.v1 import AppTest
at = AppTest.from_file("streamlit_app.py", default_timeout=400).run()
assert not at.exception, at.exception
assert " %" in at.subheader[0].value, at
for page in ("blend", "live", "train", "models", "classify"):
    at.switch_page(f"pages/{page}.py").run()
    assert not at.exception, at.exception
"""
    loaded = loaded_after(code, CIFAR_LAB_RUNS=str(tmp_path / "runs"), CIFAR_LAB_CACHE=str(tmp_path / "cache"))
    assert "streamlit" in loaded
    assert not loaded & {*HEAVY, "tensorboard"}


@pytest.mark.skipif(not litert_available(), reason="no LiteRT on this platform")
@pytest.mark.skipif(not list((assets_dir() / "models").glob("*")), reason="no bundled model in this checkout")
def test_a_compiled_model_answers_without_any_process_with_tensorflow(tmp_path):
    code = """
from streamlit.testing.v1 import AppTest
at = AppTest.from_file("streamlit_app.py", default_timeout=400).run()
assert " %" in at.subheader[0].value, at
at.switch_page("pages/blend.py").run()
assert not at.exception, at.exception
from cifar_model.app.shared import resources
assert resources.answering().wait(0) and resources.drawing().pids and not resources.explaining().pids
"""
    loaded_after(code, CIFAR_LAB_RUNS=str(tmp_path / "runs"), CIFAR_LAB_CACHE=str(tmp_path / "cache"))


def test_no_private_name_crosses_a_module():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cifar_model"):
                private = {alias.name for alias in node.names if alias.name.startswith("_")} - {"__version__"}
                assert not private, (path, private)
                modules |= {alias.asname or alias.name for alias in node.names if alias.name.islower()}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                private = node.attr.startswith("_") and not node.attr.endswith("__")
                assert not private, (path, node.value.id, node.attr)

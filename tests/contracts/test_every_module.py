"""What every module promises: that it can be the first of ours to be imported, and that importing it starts nothing."""

import ast
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import importlib, sys
wrong = []
for name in sys.argv[1:]:
    for known in [each for each in sys.modules if each.split(".")[0] in ("curate", "schemas")]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except ImportError as error:
        wrong.append(f"{name}: {error}")
print("\\n".join(wrong))
"""

FORKING = """
import importlib, os, signal, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import cv2
child = os.fork()
if child == 0:
    signal.alarm(20)
    cv2.setNumThreads(1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def names_of_modules() -> list[str]:
    files = [path.relative_to(ROOT) for folder in ("curate", "schemas") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]


def test_importing_starts_no_threads_of_opencv_that_a_forked_process_would_wait_for():
    told = subprocess.run([sys.executable, "-c", FORKING, *names_of_modules()], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "0"


def test_every_module_of_curate_can_be_imported_first():
    names = names_of_modules()
    assert len(names) > 100
    told = subprocess.run([sys.executable, "-c", PROGRAM, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


OURS = ("schemas", "curate", "train", "pipelines")
BENCHMARKS = sorted(path.relative_to(ROOT) for path in (ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=str)
def test_what_a_benchmark_takes_from_the_product_is_there(path: Path) -> None:
    """Benchmarks are not type-checked and seldom run: one that imported what had moved was found by chance."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            module = importlib.import_module(node.module or "")
            for name in (one.name for one in node.names):
                there = hasattr(module, name) or (hasattr(module, "__path__") and importlib.util.find_spec(f"{node.module}.{name}"))
                assert there, f"{path}:{node.lineno}: no {name} in {node.module}"

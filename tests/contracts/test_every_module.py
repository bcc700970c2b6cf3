"""What every module promises: that it can be the first of ours to be imported."""

import subprocess
import sys
from pathlib import Path

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


def test_every_module_of_curate_can_be_imported_first():
    files = [path.relative_to(ROOT) for folder in ("curate", "schemas") for path in sorted((ROOT / folder).rglob("*.py"))]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    assert len(names) > 100
    told = subprocess.run([sys.executable, "-c", PROGRAM, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""

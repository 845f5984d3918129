"""What the course runs on, for reports of problems."""

from __future__ import annotations

import locale
import platform
import sys
import tempfile
import time
from pathlib import Path

import hypothesis
import numpy as np

from .. import __version__
from .runner import examine_file
from .solution import first_file


def doctor(file: Path) -> int:
    """Print versions, encodings, the student's file, and how long an empty check takes."""
    found = f"{file.resolve()}" if file.is_file() else f"none named {file} in {Path.cwd()}"
    facts = {
        "microgrand": __version__,
        "Python": f"{platform.python_version()} at {sys.executable}",
        "NumPy": np.__version__,
        "Hypothesis": hypothesis.__version__,
        "system": platform.platform(),
        "encoding": f"{sys.stdout.encoding}, files {locale.getpreferredencoding(False)}",
        "file": found,
    }
    for name, value in facts.items():
        print(f"{name + ':':12}{value}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mygrad.py"
        path.write_text(first_file(), encoding="utf-8")
        start = time.perf_counter()
        result = examine_file(path)
        seconds = time.perf_counter() - start
    right = [stage["status"] for stage in result["stages"]] == ["missing"]
    print(f"{'check:':12}an unwritten file in {seconds:.1f} s, {'as it should' if right else 'no'}")
    return 0 if right else 3

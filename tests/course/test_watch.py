"""Watching a file: a report after each save, and an end at Ctrl-C."""

import os
import signal
import subprocess
import sys

import pytest
from harness import SOURCE

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent by a signal")


def lines_until(process, word):
    """Read lines until one has a word."""
    lines = []
    while not lines or word not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    return "".join(lines)


def test_a_report_after_each_save(tmp_path):
    path = tmp_path / "mygrad.py"
    path.write_text("x = 1\n", encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "microgrand.course", "watch", "--file", str(path), "--lang", "en"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        assert "not written yet" in lines_until(process, "next:")
        path.write_text(SOURCE.replace("(g * b, g * a)", "(g * a, g * b)"), encoding="utf-8")
        assert "swapped" in lines_until(process, "next:")
        path.write_text(SOURCE.replace("def numerical", "def other"), encoding="utf-8")
        said = lines_until(process, "lesson 4")
        assert "Stage 3, many uses: passed." in said
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    assert not list(tmp_path.glob(".microgrand-course.json.*"))

"""The benchmark command measures, reports, and refuses to compare what computes different things.

Only its quick mode, on the smallest net: how long something takes is never asserted.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import microgrand

BENCHMARKS = Path(__file__).parent / "benchmarks"


def run(folder, benchmark, *options):
    """Call the command as a reader does, with one thread."""
    command = [sys.executable, str(folder), benchmark, "--quick", "--threads", "1", *options]
    # The microgrand that is tested here, whether it is installed or not.
    path = {"PYTHONPATH": str(Path(microgrand.__file__).parents[1])}
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | path)


def change(folder, name, old, new):
    """Replace a piece of a contender's source."""
    source = (folder / name).read_text(encoding="utf-8")
    assert source.count(old) == 1
    (folder / name).write_text(source.replace(old, new), encoding="utf-8")


@pytest.fixture
def copy(tmp_path):
    """A copy of the benchmarks, to plant mistakes in."""
    return shutil.copytree(BENCHMARKS, tmp_path / "benchmarks")


def test_a_quick_run_reports_what_it_measured_and_what_it_skipped(copy, tmp_path):
    # A peer that secretly computes in float64, and one that is not installed.
    shutil.copy(copy / "contender_numpy.py", copy / "contender_torch.py")
    change(copy, "contender_torch.py", "keep * np.float32", "keep * np.float64")
    (copy / "contender_jax.py").write_text("import there_is_no_such_library\n")
    path = tmp_path / "results.json"
    process = run(copy, "tiny", "--against", "torch,jax", "--json", str(path))
    assert process.returncode == 0, process.stderr
    report = json.loads(path.read_text())

    skipped = report["skipped"]
    assert skipped.keys() == {"torch, training 2-16-16-2, batch 32", "jax"}
    assert "float64" in skipped["torch, training 2-16-16-2, batch 32"]
    assert "there_is_no_such_library" in skipped["jax"]
    for what, why in skipped.items():
        assert f"Skipped: {what}: {why}" in process.stdout

    assert report["versions"]["microgrand"]["version"] == microgrand.__version__
    rows = {(row["contender"], row["quantity"]): row for row in report["rows"]}
    assert rows.keys() == {
        ("microgrand", "time"),
        ("numpy", "time"),
        ("numpy", "time ratio"),
        ("numpy products", "time"),
        ("numpy products", "time ratio"),
    }
    times = [rows[name, "time"]["values"] for name in ("microgrand", "numpy")]
    row = rows["numpy", "time ratio"]
    assert row["values"] == [ours / theirs for ours, theirs in zip(*times, strict=True)]
    assert row["median"] == sorted(row["values"])[1]
    assert row["met"] == (row["median"] <= row["target"])
    (line,) = [x for x in process.stdout.splitlines() if "at most" in x]
    assert f" {row['median']:.3g} " in line
    assert line.endswith("NOT MET") == (not row["met"])


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("(g.T @ inputs[i], g.sum(axis=0))", "(g.T @ inputs[i], g.mean(axis=0))", "gradient 1"),
        ("-= LEARNING_RATE * grad", "-= 0.99 * LEARNING_RATE * grad", "change 0"),
    ],
)
def test_nothing_is_measured_where_numpy_disagrees(copy, tmp_path, old, new, wrong):
    change(copy, "contender_numpy.py", old, new)
    path = tmp_path / "results.json"
    process = run(copy, "tiny", "--against", "none", "--json", str(path))
    assert process.returncode == 1
    assert f"NumPy and microgrand disagree: {wrong}" in process.stdout
    assert json.loads(path.read_text())["rows"] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--json", "no/such/folder.json"], "no folder"),
        (["--picture", "picture.foo"], ".png or .svg"),
        (["--against", "torch,tf"], "no such peer: tf"),
        (["--threads", "two"], "numbers such as 1,2"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_measured(options, words):
    process = run(BENCHMARKS, "tiny", *options)
    assert process.returncode == 2
    assert words in process.stderr
    assert "measuring" not in process.stderr

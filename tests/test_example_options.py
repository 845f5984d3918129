"""Impossible options of the shorter examples end with a sentence, before any work is done."""

import importlib
import subprocess
import sys

import pytest
from scripts import MATPLOTLIB, ROOT

needs_matplotlib = pytest.mark.skipif(not MATPLOTLIB, reason="matplotlib is not installed")


@pytest.mark.parametrize(
    ("example", "options", "message"),
    [
        ("compiled_step", ["--save", "no-such-folder/step.py"],
         "--save: there is no folder no-such-folder; make it first"),
        pytest.param("gallery", ["--folder", __file__], "--folder: ", marks=needs_matplotlib),
        ("mlp_distributed", ["--data", "no-such-folder"],
         "--data: expected digits, mnist1d or a folder, got no-such-folder"),
        ("mlp_distributed", ["--p", "2"], "--p is a probability, from 0 to 1, got 2.0"),
        ("mlp_distributed", ["--batch-size", "0"], "--batch-size is at least 1, got 0"),
    ],
)  # fmt: skip
def test_impossible_options_end_with_a_message(monkeypatch, capsys, example, options, message):
    monkeypatch.syspath_prepend(ROOT / "examples")
    with pytest.raises(SystemExit) as caught:
        importlib.import_module(example).main(options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_without_dask_the_example_names_the_extra():
    program = (
        "import runpy, sys; sys.modules['dask'] = None; "
        f"runpy.run_path({str(ROOT / 'examples' / 'dask_logistic.py')!r}, run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1
    assert 'pip install ".[dask]" in a clone' in ended.stderr
    assert "Traceback" not in ended.stderr

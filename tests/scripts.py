"""What the tests of the examples share: where the scripts are, data for them, how they are run."""

import contextlib
import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


def write_idx(path, array):
    """Write an MNIST file."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_labelled(folder, name, images, classes=10):
    """Write MNIST's files of that name: images, and labels that go through the classes in turn."""
    write_idx(folder / f"{name}-images-idx3-ubyte", images)
    write_idx(folder / f"{name}-labels-idx1-ubyte", np.arange(len(images)) % classes)


@contextlib.contextmanager
def importing_examples():
    """Inside the block, import examples as running them would; undo afterwards what they set."""
    with pytest.MonkeyPatch.context() as patch:
        # They set this variable where it is unset.
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        patch.syspath_prepend(ROOT / "examples")
        yield patch


def run_in_a_pipe(script, *options, folder):
    """Run a script as a process of its own, and return what it printed: no bar and no warning."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment["PYTHONUTF8"] = "1"
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / script, *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    assert result.stderr == ""
    assert "\r" not in result.stdout
    return result.stdout

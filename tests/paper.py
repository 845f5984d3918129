"""The program examples/dropout_paper and its modules, and textcnn.py, for their tests."""

import importlib
import os
from types import SimpleNamespace

import pytest
from scripts import ROOT

MODULES = ("averaging", "calibration", "claims", "conv", "ensemble", "features", "maxnorm", "rate")
MODULES += ("report", "runs", "size", "style", "training")


def load_example():
    """Import the program and its modules, as running it would."""
    with pytest.MonkeyPatch.context() as patch:
        # The program sets this variable where it is unset; undo it for the tests to come.
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        patch.syspath_prepend(ROOT / "examples")
        program = importlib.import_module("dropout_paper.__main__")
        modules = {name: importlib.import_module(f"dropout_paper.{name}") for name in MODULES}
        modules["textcnn"] = importlib.import_module("textcnn")
    return SimpleNamespace(main=program.main, experiments=program.EXPERIMENTS, **modules)


example = load_example()

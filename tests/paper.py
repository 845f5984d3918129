"""The script examples/dropout_paper.py and its modules, for their tests."""

import importlib
import importlib.util
import os
from types import SimpleNamespace

import pytest
from scripts import ROOT

MODULES = ("averaging", "calibration", "claims", "ensemble", "features", "maxnorm", "rate", "runs")
MODULES += ("size", "style", "training")


def load_example():
    """Import the script and the modules of its folder, as running it would."""
    with pytest.MonkeyPatch.context() as patch:
        # The script sets this variable where it is unset; undo it for the tests to come.
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        patch.syspath_prepend(ROOT / "examples")
        script = importlib.import_module("dropout_paper")
        modules = {name: importlib.import_module(f"dropout_experiments.{name}") for name in MODULES}
    return SimpleNamespace(main=script.main, experiments=script.EXPERIMENTS, **modules)


example = load_example()

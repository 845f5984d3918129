"""The program examples/dropout_paper and its modules, and textcnn.py, for their tests."""

import importlib
from types import SimpleNamespace

from scripts import importing_examples

MODULES = ("averaging", "calibration", "claims", "conv", "ensemble", "features", "maxnorm", "rate")
MODULES += ("report", "runs", "size", "style", "training")


def load_example():
    """Import the program and its modules, as running it would."""
    with importing_examples():
        program = importlib.import_module("dropout_paper.__main__")
        modules = {name: importlib.import_module(f"dropout_paper.{name}") for name in MODULES}
        modules["textcnn"] = importlib.import_module("textcnn")
    return SimpleNamespace(main=program.main, experiments=program.EXPERIMENTS, **modules)


example = load_example()

"""What the examples share: the data that ``--data`` names, and a progress bar."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microgrand.data import load_digits, load_mnist, read_labelled

DATA_HELP = "digits, mnist1d, or a folder with MNIST's files (t10k's alone are split)"


def load(source: str) -> tuple[str, Any, Any]:
    """Load ``"digits"``, ``"mnist1d"``, or MNIST's files from the folder of that name.

    Returns
    -------
    name
        What to call the data in a sentence.
    train_set, test_set
        Each is a pair: inputs, float32 of shape (n, pixels), and labels, int64 of shape (n,).
        `test_set` is None if the data have none; the test examples are then yours to split off.

    Raises
    ------
    OSError, ValueError
        If `source` names no data, or the files are missing or damaged.
    """
    test_set = None
    if source == "digits":
        name, train_set = "the embedded digits", load_digits()
    elif source == "mnist1d":
        name, (train_set, test_set) = "MNIST-1D", make_mnist1d()
    elif not (folder := Path(source)).is_dir():
        raise ValueError(f"expected digits, mnist1d or a folder, got {source}; no such folder")
    elif pair := t10k_alone(folder):
        name = f"the t10k files in {folder}, which has no train files"
        train_set = read_labelled(*pair)
    else:
        name, (train_set, test_set) = f"MNIST's files in {folder}", load_mnist(folder)
    if test_set is not None:
        (images, labels), (test_images, test_labels) = train_set, test_set
        if images.shape[1:] != test_images.shape[1:] or not set(test_labels) <= set(labels):
            raise ValueError("the test images are of another size or class than those to train on")
    return name, flat(train_set), test_set and flat(test_set)


def flat(examples: Any) -> Any:
    """Return inputs with a row each, and their labels."""
    inputs, labels = examples
    return inputs.reshape(len(inputs), math.prod(inputs.shape[1:])), labels


def make_mnist1d() -> Any:
    """Make MNIST-1D's training set and test set with the package mnist1d."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise ValueError(f"mnist1d needs its package ({error}); pip install mnist1d") from error
    made = make_dataset(get_dataset_args())
    return tuple(
        (made[x].astype(np.float32), made[y].astype(np.int64))
        for x, y in (("x", "y"), ("x_test", "y_test"))
    )


def t10k_alone(folder: Path) -> list[Path] | None:
    """Return the paths of the t10k images and labels if the folder has no others of MNIST's.

    Many have only these smaller files at hand, and 10,000 images are enough to split.
    """
    if list(folder.glob("train-*ubyte*")):
        return None
    kinds = "images?idx3", "labels?idx1"
    found = [sorted(folder.glob(f"t10k-{kind}-ubyte*")) for kind in kinds]
    return [paths[0] for paths in found] if all(found) else None


def progress(runs: Sequence[Any], label: str, unit: str = "net") -> Any:
    """Show a progress bar while iterating: on a terminal, if tqdm is there to draw it."""
    try:
        from tqdm import tqdm
    except ImportError:
        return runs
    piped = not (sys.stdout.isatty() and sys.stderr.isatty())
    return tqdm(runs, desc=label, unit=unit, disable=piped, leave=False)

"""Test error against the size of the training set, without and with dropout."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from microgrand import nn

from . import training
from .claims import Claim, mean_and_error
from .runs import Outcome, Results, Run
from .style import BLUE, GREY, ORANGE, error_curve, logarithmic, table

PAPER = """\
Section 7.4, figure 10, on parts of MNIST of 100 to 50,000 images: for the smallest parts, of 100
and 500, dropout brings no improvement, because a large net can memorise them despite the noise.
With more images the gain grows up to a point, and then declines."""
STEPS = 2000
SEEDS = 8
WIDTHS = [128, 128, 128]
P_INPUT, P = 0.2, 0.5  # the paper keeps 0.8 of the inputs and 0.5 of the hidden units
SIZES = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


def runs(data: training.Data, options: argparse.Namespace) -> list[Run]:
    """List the nets to train."""
    sizes = [size for size in SIZES if size <= (options.train_size or data.most)]
    if len(sizes) < 3:
        raise ValueError(f"the sizes {sizes} are too few to compare; allow at least {SIZES[2]}")
    return [
        {
            "experiment": "size",
            "seed": seed,
            "train_size": size,
            "steps": options.steps,
            "dropout": dropout,
        }
        for seed in range(options.seeds)
        for size in sizes
        for dropout in (False, True)
    ]


def measure(data: training.Data, run: Run) -> Outcome:
    """Train a net and test it."""
    rngs = training.Generators.of(run["seed"])
    (x, y), (x_test, y_test) = data.split(run["train_size"], rngs.split)
    net = training.mlp(data, WIDTHS, [P if run["dropout"] else 0.0] * len(WIDTHS), rngs)
    if run["dropout"]:
        net = nn.Sequential(nn.Dropout(P_INPUT, rng=rngs.masks), *net)
    training.train(net, x, y, run["steps"], rngs)
    return {"error": training.error(training.probabilities(net, x_test), y_test)}


def gains(results: Results) -> dict[int, Any]:
    """Return, for each size, how many points of error dropout takes away, for each seed."""
    return {
        size: results.over_seeds("error", train_size=size, dropout=False)
        - results.over_seeds("error", train_size=size, dropout=True)
        for size in results.settings("train_size")
    }


def claims(results: Results) -> list[Claim]:
    """Compare with what the paper found."""
    gain = gains(results)
    (smallest, *between, largest) = gain
    middle = np.mean([gain[size] for size in between], axis=0)
    sizes = f"{between[0]} to {between[-1]}" if len(between) > 1 else f"{between[0]}"
    return [
        Claim(
            f"with {smallest} examples, dropout does not help, it even hurts",
            {"error with dropout - without": -gain[smallest]},
        ),
        Claim(
            f"the gain by dropout is larger with {sizes} examples than with {smallest}",
            {"the gains' difference": middle - gain[smallest]},
        ),
        Claim(
            f"the gain by dropout is smaller again with {largest} examples",
            {"the gains' difference": middle - gain[largest]},
        ),
    ]


def show(results: Results) -> str:
    """Return the table."""
    rows = []
    for size, gain in gains(results).items():
        errors = [
            results.over_seeds("error", train_size=size, dropout=dropout)
            for dropout in (False, True)
        ]
        rows.append([str(size), *map(mean_and_error, (*errors, gain))])
    return table(("examples", "error without", "error with dropout", "gain"), rows)


def draw(figure: Any, results: Results) -> None:
    """Draw the errors, and the gain below them."""
    sizes = results.settings("train_size")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for dropout, color, label in (
        (False, ORANGE, "without dropout"),
        (True, BLUE, f"with dropout of {P:g} of the hidden units, {P_INPUT:g} of the inputs"),
    ):
        errors = [results.over_seeds("error", train_size=n, dropout=dropout) for n in sizes]
        error_curve(axes, sizes, np.array(errors), color, label)
    axes.set(ylabel="test error in %", title="Test error against the size of the training set")
    logarithmic(axes, "x")
    logarithmic(axes, "y")
    axes.legend()
    error_curve(below, sizes, np.array(list(gains(results).values())), GREY, "gain")
    below.axhline(0, color="black", linewidth=0.8)
    below.set(xlabel="examples to train on", ylabel="gain by dropout")

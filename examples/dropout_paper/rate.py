"""Test error against the dropout rate, at a fixed width and at a fixed number of kept units."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from . import training
from .claims import Claim, mean_and_error, within
from .runs import Outcome, Results, Run
from .style import BLUE, ORANGE, error_curve, logarithmic, table

PAPER = """\
Section 7.3, figure 9, on MNIST with three hidden layers (there, p is the probability to keep a
unit). At a fixed width, the error is high where few units are kept, flat from p = 0.4 to 0.8,
and rises again towards p = 1. With p n fixed, so that nets with more dropout are wider, the error
at small p is much lower; p = 0.6 does best, and the usual 0.5 is close to it."""
STEPS = 1200
SEEDS = 8
WIDTH, KEPT = 128, 64  # both are the same net at p = 0.5
P_AT_WIDTH = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
P_AT_KEPT = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8)


def width_for(p: float) -> int:
    """Return the width at which dropout keeps `KEPT` units on average."""
    return round(KEPT / (1 - p))


def runs(data: training.Data, options: argparse.Namespace) -> list[Run]:
    """List the nets to train."""
    nets = [(p, WIDTH) for p in P_AT_WIDTH] + [(p, width_for(p)) for p in P_AT_KEPT]
    return [
        {
            "experiment": "rate",
            "seed": seed,
            "train_size": options.train_size or data.train_size,
            "steps": options.steps,
            "p": p,
            "width": width,
        }
        for seed in range(options.seeds)
        for p, width in dict.fromkeys(nets)  # one of them is in both curves
    ]


def measure(data: training.Data, run: Run) -> Outcome:
    """Train a net and test it."""
    rngs = training.Generators.of(run["seed"])
    (x, y), (x_test, y_test) = data.split(run["train_size"], rngs.split)
    net = training.mlp(data, [run["width"]] * 3, [run["p"]] * 3, rngs)
    training.train(net, x, y, run["steps"], rngs)
    return {"error": training.error(training.probabilities(net, x_test), y_test)}


def claims(results: Results) -> list[Claim]:
    """Compare with what the paper found."""
    fixed_width = {p: results.over_seeds("error", p=p, width=WIDTH) for p in P_AT_WIDTH}
    fixed_kept = {p: results.over_seeds("error", p=p, width=width_for(p)) for p in P_AT_KEPT}
    middle = fixed_width[0.6] - fixed_width[0.2]
    return [
        Claim(
            f"with {WIDTH} units a layer, dropping half of them is better than dropping none",
            {"error at 0 - error at 0.5": fixed_width[0.0] - fixed_width[0.5]},
        ),
        Claim(
            f"with {WIDTH} units a layer, dropping nine of ten is worse than dropping half",
            {"error at 0.9 - error at 0.5": fixed_width[0.9] - fixed_width[0.5]},
        ),
        Claim(
            "from 0.2 to 0.6 the error is flat: it changes by less than from there to either end",
            within(middle, fixed_width[0.0] - fixed_width[0.2], "0.6 - 0.2", "0 - 0.2")
            | within(middle, fixed_width[0.9] - fixed_width[0.6], "0.6 - 0.2", "0.9 - 0.6"),
        ),
        Claim(
            f"at p = 0.8, nets wide enough to keep {KEPT} units do better than those of {WIDTH}",
            {"error at fixed width - at fixed number": fixed_width[0.8] - fixed_kept[0.8]},
        ),
        Claim(
            f"with {KEPT} units kept, p = 0.5 is better than either end",
            {
                "error at 0 - error at 0.5": fixed_kept[0.0] - fixed_kept[0.5],
                "error at 0.8 - error at 0.5": fixed_kept[0.8] - fixed_kept[0.5],
            },
        ),
    ]


def show(results: Results) -> str:
    """Return the table."""
    rows = []
    for p in P_AT_WIDTH:
        cells = [f"{p:g}", mean_and_error(results.over_seeds("error", p=p, width=WIDTH))]
        if p in P_AT_KEPT:
            cells.append(mean_and_error(results.over_seeds("error", p=p, width=width_for(p))))
            cells.append(str(width_for(p)))
        rows.append(cells)
    return table(("p", f"error, {WIDTH} wide", f"error, {KEPT} kept", "width then"), rows)


def draw(figure: Any, results: Results) -> None:
    """Draw both curves."""
    axes = figure.subplots()
    for p, width, color, label in (
        (P_AT_WIDTH, lambda p: WIDTH, ORANGE, f"{WIDTH} units a layer"),
        (P_AT_KEPT, width_for, BLUE, f"{KEPT} units kept on average: wider with larger p"),
    ):
        errors = np.array([results.over_seeds("error", p=x, width=width(x)) for x in p])
        error_curve(axes, p, errors, color, label)
    axes.set(xlabel="probability p of dropping a hidden unit", ylabel="test error in %")
    axes.set_title("Test error against the dropout rate")
    logarithmic(axes, "y")
    axes.legend()

"""The max-norm constraint, with high learning rates and momentum, without and with dropout."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from microgrand import nn
from microgrand.optim import SGD, project_max_norm

from . import training
from .claims import Claim, mean_and_error
from .runs import Outcome, Results, Run
from .style import BLUE, ORANGE, error_curve, logarithmic, table

PAPER = """\
Section 5.1 and appendix A: dropout, together with the max-norm constraint, large learning rates
that decay, and high momentum (0.95 to 0.99), is significantly better than dropout alone; the
constraint lets the rate be large without the weights blowing up, and helps without dropout,
too. In table 9, on MNIST: 1.25 % error with dropout and weight decay, 1.05 % with dropout and
max-norm; without dropout 1.62 % with weight decay, 1.35 % with max-norm."""
STEPS = 600
SEEDS = 8
WIDTHS = [128, 128]
P = 0.5
RATES = (0.025, 0.05, 0.1, 0.2, 0.4)
MOMENTUM = 0.95
# The paper's c is 3 to 4 for layers of a thousand inputs; here weights begin with a norm of 0.6.
MAX_NORM = 1.0
HIGH_RATE = 0.2


def runs(data: training.Data, options: argparse.Namespace) -> list[Run]:
    """List the nets to train."""
    return [
        {
            "experiment": "maxnorm",
            "seed": seed,
            "train_size": options.train_size or data.train_size,
            "steps": options.steps,
            "lr": lr,
            "p": p,
            "constrained": constrained,
        }
        for seed in range(options.seeds)
        for lr in RATES
        for p in (0.0, P)
        for constrained in (False, True)
    ]


def measure(data: training.Data, run: Run) -> Outcome:
    """Train a net and test it; after a divergence it names the same class for all."""
    rngs = training.Generators.of(run["seed"])
    (x, y), (x_test, y_test) = data.split(run["train_size"], rngs.split)
    net = training.mlp(data, WIDTHS, [run["p"]] * len(WIDTHS), rngs)
    weights = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    optimizer = SGD(net.parameters(), lr=run["lr"], momentum=0.5)
    steps = run["steps"]

    def constrain_and_schedule(step: int) -> None:
        """The rate falls to 0, while momentum rises over the first quarter, as in the paper."""
        if run["constrained"]:
            project_max_norm(weights, MAX_NORM)
        optimizer.lr = run["lr"] * (1 - (step + 1) / steps)
        optimizer.momentum = min(MOMENTUM, 0.5 + (MOMENTUM - 0.5) * 4 * (step + 1) / steps)

    with np.errstate(over="ignore", invalid="ignore"):
        training.train(
            net, x, y, steps, rngs, optimizer=optimizer, after_step=constrain_and_schedule
        )
        predicted = training.probabilities(net, x_test)
    return {"error": training.error(predicted, y_test)}


def best_by_others(errors: Any) -> Any:
    """Return each seed's error at the rate that is best for the other seeds.

    `errors` is (rates, seeds). Choosing a seed's rate by its own test error would favour it.
    """
    others = errors.sum(axis=1, keepdims=True) - errors
    return np.take_along_axis(errors, others.argmin(axis=0)[None], axis=0)[0]


def errors_of(results: Results, p: float, constrained: bool) -> Any:
    """Return the errors as an array (rates, seeds)."""
    rates = results.settings("lr")
    where = {"p": p, "constrained": constrained}
    return np.array([results.over_seeds("error", lr=lr, **where) for lr in rates])


def claims(results: Results) -> list[Claim]:
    """Compare with what the paper found."""
    high = RATES.index(HIGH_RATE)
    plain, plain_max_norm = errors_of(results, 0.0, False), errors_of(results, 0.0, True)
    dropout, both = errors_of(results, P, False), errors_of(results, P, True)
    return [
        Claim(
            f"with dropout and a high rate of {HIGH_RATE}, max-norm is better than no constraint",
            {"error without max-norm - with it": dropout[high] - both[high]},
        ),
        Claim(
            f"without dropout, at a rate of {HIGH_RATE}, max-norm is better than no constraint",
            {"error without max-norm - with it": plain[high] - plain_max_norm[high]},
        ),
        Claim(
            "dropout with max-norm beats dropout alone, each at its best rate",
            {"error of dropout - of both": best_by_others(dropout) - best_by_others(both)},
        ),
        Claim(
            "max-norm alone beats no constraint, each at its best rate",
            {"error of none - of max-norm": best_by_others(plain) - best_by_others(plain_max_norm)},
        ),
        Claim(
            "dropout with max-norm beats max-norm alone, each at its best rate",
            {"error of max-norm - of both": best_by_others(plain_max_norm) - best_by_others(both)},
        ),
    ]


def show(results: Results) -> str:
    """Return the table."""
    columns = [errors_of(results, p, c) for p in (0.0, P) for c in (False, True)]
    rows = [
        [f"{lr:g}", *(mean_and_error(errors[i]) for errors in columns)]
        for i, lr in enumerate(results.settings("lr"))
    ]
    rows.append(["best", *(mean_and_error(best_by_others(errors)) for errors in columns)])
    return table(("rate", "error, no dropout", "max-norm", "dropout", "dropout, max-norm"), rows)


def draw(figure: Any, results: Results) -> None:
    """Draw the error against the learning rate."""
    axes = figure.subplots()
    for p, color in ((0.0, ORANGE), (P, BLUE)):
        for constrained, style in ((False, "o:"), (True, "o-")):
            label = f"{'with' if p else 'without'} dropout"
            label += f", norm at most {MAX_NORM:g}" if constrained else ""
            errors = errors_of(results, p, constrained)
            error_curve(axes, results.settings("lr"), errors, color, label, style)
    axes.set(xlabel="initial learning rate", ylabel="test error in %")
    axes.set_title("Test error against the learning rate, with and without the constraint")
    logarithmic(axes, "y")
    axes.set(xscale="log", xticks=results.settings("lr"), xticklabels=results.settings("lr"))
    axes.minorticks_off()
    axes.legend()

"""Monte-Carlo averaging of k thinned nets, against weight scaling."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from microgrand import nn
from microgrand.nn.functional import softmax

from . import training
from .claims import Claim, mean_and_error, within
from .runs import Outcome, Results, Run
from .style import BLUE, GREY, table

PAPER = """\
Section 7.5, figure 11: on MNIST, averaging the answers of k thinned nets that are drawn at random
gets better with k. At about k = 50 it is as good as weight scaling, one pass through the whole
net; beyond that it is slightly better, but by less than one standard deviation. So the cheap way
approximates the expensive one well."""
STEPS = 600
SEEDS = 16
WIDTHS = [128, 128, 128]
P = 0.5
SAMPLES = (1, 2, 5, 10, 20, 50, 100, 200)


def runs(data: training.Data, options: argparse.Namespace) -> list[Run]:
    """List the nets to train."""
    return [
        {
            "experiment": "averaging",
            "seed": seed,
            "train_size": options.train_size or data.train_size,
            "steps": options.steps,
        }
        for seed in range(options.seeds)
    ]


def measure(data: training.Data, run: Run) -> Outcome:
    """Train a net, and test it by one pass in evaluation mode and by averages over thinned nets."""
    rngs = training.Generators.of(run["seed"])
    (x, y), (x_test, y_test) = data.split(run["train_size"], rngs.split)
    net = training.mlp(data, WIDTHS, [P] * len(WIDTHS), rngs)
    training.train(net, x, y, run["steps"], rngs)
    whole = training.error(training.probabilities(net, x_test), y_test)
    thinned = nn.mc_dropout(
        lambda inputs: softmax(net(inputs)), x_test, max(SAMPLES), rng=rngs.masks
    ).samples
    errors = []
    for k in SAMPLES:
        # Each thinned net is in one average of k; their errors are averaged in turn.
        groups = thinned.reshape(-1, k, *thinned.shape[1:]).mean(axis=1)
        errors.append(float(np.mean([training.error(p, y_test) for p in groups])))
    return {"weight scaling": whole, "averages": errors}


def claims(results: Results) -> list[Claim]:
    """Compare with what the paper found."""
    whole = results.over_seeds("weight scaling")
    average = dict(zip(SAMPLES, results.over_seeds("averages").T, strict=True))
    return [
        Claim(
            "averages of one thinned net, or of five, are worse than weight scaling",
            {f"error at k = {k} - of weight scaling": average[k] - whole for k in (1, 5)},
        ),
        Claim(
            "averages of 50 are as good, within one standard deviation of the error over the seeds",
            within(average[50] - whole, whole.std(ddof=1), "50 - scaling", "deviation"),
        ),
        Claim(
            f"averages of {SAMPLES[-1]} are better than weight scaling",
            {"error of weight scaling - of average": whole - average[SAMPLES[-1]]},
        ),
    ]


def show(results: Results) -> str:
    """Return the table."""
    whole = results.over_seeds("weight scaling")
    rows = [["weight scaling", mean_and_error(whole)]]
    for k, errors in zip(SAMPLES, results.over_seeds("averages").T, strict=True):
        rows.append([f"average of {k}", mean_and_error(errors), mean_and_error(errors - whole)])
    return table(("", "error", "minus weight scaling"), rows)


def draw(figure: Any, results: Results) -> None:
    """Draw how much worse than weight scaling an average over k thinned nets is."""
    axes = figure.subplots()
    whole = results.over_seeds("weight scaling")
    differences = results.over_seeds("averages") - whole[:, None]
    axes.plot(SAMPLES, differences.T, color=GREY, alpha=0.3, linewidth=1)
    spread = differences.std(axis=0, ddof=1) / len(whole) ** 0.5
    axes.errorbar(
        SAMPLES, differences.mean(axis=0), spread, fmt="o-", color=BLUE, capsize=3, label="mean"
    )
    axes.plot([], [], color=GREY, alpha=0.5, label="each seed")
    deviation = whole.std(ddof=1)
    axes.axhspan(-deviation, deviation, color=GREY, alpha=0.15, label="one standard deviation")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="thinned nets averaged, k", ylabel="error minus that of weight scaling, points")
    axes.set(xscale="log", xticks=SAMPLES, xticklabels=SAMPLES)
    axes.minorticks_off()
    axes.set_title(
        f"Averages over k thinned nets; weight scaling has an error of {whole.mean():.2f} %"
    )
    axes.legend()

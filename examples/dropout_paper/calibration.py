"""Accuracy against confidence: without dropout, with weight scaling, with Monte-Carlo averaging."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import microgrand
from microgrand import nn
from microgrand.nn.functional import log_softmax

from . import training
from .claims import Claim, mean_and_error
from .runs import Outcome, Results, Run
from .style import BLUE, GREEN, GREY, ORANGE, table

PAPER = """\
The dropout paper does not look at this. Guo et al. 2017 (arXiv:1706.04599): large nets are more
confident than they are accurate; the expected calibration error is the mean distance between the
two. Gal and Ghahramani 2016 (arXiv:1506.02142): one pass through the whole net can be confident
and wrong, while the average over thinned nets tells how uncertain the net is, which shows in the
log probability of the true class."""
STEPS = 600
SEEDS = 10
WIDTHS = [128, 128, 128]
P = 0.5
SAMPLES = 100
BINS = 10
WAYS = ("without dropout", "dropout, weight scaling", "dropout, averaged")


def runs(data: training.Data, options: argparse.Namespace) -> list[Run]:
    """List the nets to train."""
    return [
        {
            "experiment": "calibration",
            "seed": seed,
            "train_size": options.train_size or data.train_size,
            "steps": options.steps,
            "p": p,
        }
        for seed in range(options.seeds)
        for p in (0.0, P)
    ]


def reliability(predicted: Any, labels: Any) -> dict[str, list[float]]:
    """Sort the answers by their confidence, the probability of the most probable class.

    Returns
    -------
    dict
        For each of `BINS` bins of equal width from 0 to 1, the number of answers in it, the sum
        of their confidences, and the number that are right. A confidence on an edge counts above.
    """
    confidence = predicted.max(axis=1)
    right = predicted.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return {
        name: np.bincount(bins, weights, minlength=BINS).tolist()
        for name, weights in (("answers", None), ("confidence", confidence), ("right", right))
    }


def calibration_error(bins: dict[str, list[float]]) -> float:
    """Return the expected calibration error in percent (Guo et al. 2017, equation 3).

    The distance between the accuracy and the mean confidence in a bin, on average over the
    answers.
    """
    distances = np.abs(np.subtract(bins["right"], bins["confidence"]))
    return float(100 * distances.sum() / np.sum(bins["answers"]))


def measure(data: training.Data, run: Run) -> Outcome:
    """Train a net, and test it by each way."""
    rngs = training.Generators.of(run["seed"])
    (x, y), (x_test, y_test) = data.split(run["train_size"], rngs.split)
    net = training.mlp(data, WIDTHS, [run["p"]] * len(WIDTHS), rngs)
    training.train(net, x, y, run["steps"], rngs)
    # Logarithms, because a probability that underflows to zero would have none.
    with microgrand.no_grad():
        whole = log_softmax(net(x_test)).numpy()
    if run["p"] == 0:
        answers = {"without dropout": whole}
    else:
        thinned = nn.mc_dropout(
            lambda x: log_softmax(net(x)), x_test, SAMPLES, rng=rngs.masks
        ).samples
        averaged = np.logaddexp.reduce(thinned, axis=0) - np.log(SAMPLES)
        answers = {"dropout, weight scaling": whole, "dropout, averaged": averaged}
    outcome: Outcome = {}
    for way, log_p in answers.items():
        p = np.exp(log_p)
        bins = reliability(p, y_test)
        outcome[f"{way}: bins"] = bins
        outcome[f"{way}: error"] = training.error(p, y_test)
        outcome[f"{way}: confidence"] = float(100 * p.max(axis=1).mean())
        outcome[f"{way}: calibration error"] = calibration_error(bins)
        true = log_p[np.arange(len(p)), y_test]
        outcome[f"{way}: log probability"] = float(true.mean())
    return outcome


def of(results: Results, way: str, measure: str) -> Any:
    """Return a measure of a way over the seeds."""
    return results.over_seeds(f"{way}: {measure}", p=0.0 if way == "without dropout" else P)


def claims(results: Results) -> list[Claim]:
    """Compare with what the papers found."""
    without, scaling, averaged = (
        {m: of(results, way, m) for m in ("calibration error", "log probability")} for way in WAYS
    )
    overconfidence = [
        of(results, way, "confidence") - (100 - of(results, way, "error")) for way in WAYS
    ]
    return [
        Claim(
            "without dropout, the net is more confident than accurate",
            {"confidence - accuracy": overconfidence[0]},
        ),
        Claim(
            "dropout makes the net better calibrated, by weight scaling",
            {
                "calibration error without - with": without["calibration error"]
                - scaling["calibration error"]
            },
        ),
        Claim(
            "averaging thinned nets is better calibrated than weight scaling",
            {
                "calibration error of scaling - of average": scaling["calibration error"]
                - averaged["calibration error"]
            },
        ),
        Claim(
            "averaging gives the true class a higher log probability than weight scaling",
            {
                "log probability of average - of scaling": averaged["log probability"]
                - scaling["log probability"]
            },
        ),
    ]


def show(results: Results) -> str:
    """Return the table."""
    measures = ("error", "confidence", "calibration error", "log probability")
    rows = [[way, *(mean_and_error(of(results, way, m)) for m in measures)] for way in WAYS]
    return table(("", *measures), rows)


def draw(figure: Any, results: Results) -> None:
    """Draw reliability diagrams: all seeds together, and how many answers are in each bin."""
    figure.set_size_inches(10, 5)
    above, below = figure.subplots(2, len(WAYS), sharex=True, sharey="row", height_ratios=(3, 1))
    centers = (np.arange(BINS) + 0.5) / BINS
    for axes, counts, way, color in zip(above, below, WAYS, (ORANGE, BLUE, GREEN), strict=True):
        bins = of(results, way, "bins")
        answers, confidence, right = (
            np.sum([each[name] for each in bins], axis=0)
            for name in ("answers", "confidence", "right")
        )
        some = answers >= 5
        accuracy = right[some] / answers[some]
        # The standard error of a share.
        spread = np.sqrt(accuracy * (1 - accuracy) / answers[some])
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        axes.bar(centers[some], accuracy, 0.9 / BINS, color=color, alpha=0.35)
        axes.errorbar(
            confidence[some] / answers[some], accuracy, spread, fmt="o", color=color, capsize=3
        )
        error = of(results, way, "calibration error").mean()
        axes.set_title(f"{way}\ncalibration error {error:.1f} %")
        counts.bar(centers, 100 * answers / answers.sum(), 0.9 / BINS, color=color)
        counts.set(xlabel="confidence", xlim=(0, 1))
    above[0].set_ylabel("accuracy")
    below[0].set_ylabel("% of answers")

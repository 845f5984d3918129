"""The exact average over all thinned nets of a small net, and what the evaluation pass makes of it.

A net with n units that can be dropped is an ensemble of 2^n thinned nets that share their weights,
and the thinned net that keeps k of them is drawn with probability p^(n-k) (1-p)^k. With 12 units we
can run all 4096 nets, and compare two averages of their answers with one pass through the whole
net, which is what everyone uses in practice ("weight scaling"):

    arithmetic mean    P(class) =     sum over nets of  weight * P_net(class)
    geometric mean     P(class) = exp(sum over nets of  weight * log P_net(class)) / normalizer
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np

import microgrand
from microgrand import Tensor, nn
from microgrand.nn.functional import log_softmax
from microgrand.optim import Adam

from . import training
from .claims import Claim, mean_and_error, within
from .runs import Outcome, Results, Run
from .style import BLUE, GREY, ORANGE, table

PAPER = """\
Section 4: one pass through the whole net approximates the average over all thinned nets, and does
well in practice. Hinton et al. 2012 (arXiv:1207.0580) say more: with a single hidden layer and a
softmax it is exactly the normalised geometric mean, and then it gives the right class a higher
log probability than the thinned nets do on average."""
STEPS = 1500
SEEDS = 8
P = 0.2
# Nets with 12 units that can be dropped, thus 2^12 thinned nets: widths, and dropout's rate for
# each layer. A softmax layer follows the dropped units, directly or after another ReLU layer.
NETS = {
    "12 units, softmax": ([12], [P]),
    "12 units, 32 ReLU without dropout, softmax": ([12, 32], [P, 0.0]),
    "6 units, 6 units, softmax": ([6, 6], [P, P]),
}
WAYS = ("one thinned net", "arithmetic mean", "geometric mean", "weight scaling")
MEASURES = ("error", "log probability", "distance")  # half the sum of absolute differences
EXACT = "12 units, softmax"
COMPARED = 200  # test images
SHOWN = 40  # of them are in the picture, of the first seed


def runs(data: training.Data, options: argparse.Namespace) -> list[Run]:
    """List the nets to train."""
    return [
        {
            "experiment": "ensemble",
            "seed": seed,
            "train_size": options.train_size or data.train_size,
            "steps": options.steps,
            "net": name,
        }
        for seed in range(options.seeds)
        for name in NETS
    ]


def thinned_nets(net: nn.Sequential, inputs: Any) -> tuple[Any, Any]:
    """Run all thinned nets: return their weights (nets,), and their logits (nets, inputs, classes).

    At a layer of n units to drop, every net so far becomes 2^n nets.
    """
    weights, x = np.ones(1), Tensor(inputs[None])
    for layer in net:
        if not isinstance(layer, nn.Dropout):
            x = layer(x)
        elif layer.p > 0:
            _, examples, units = x.shape
            kept = np.array(list(itertools.product([False, True], repeat=units)))
            weight = np.prod(np.where(kept, 1 - layer.p, layer.p), axis=1)
            weights = np.outer(weights, weight).ravel()
            # As in training: what is kept is scaled, what is dropped is zero.
            x = x[:, None] * kept[:, None] / (1 - layer.p)
            x = x.reshape(-1, examples, units)
    return weights, x.numpy()


def averages(net: nn.Sequential, inputs: Any) -> dict[str, tuple[Any, Any]]:
    """Return the answers by each way: weights (nets,), log probabilities (nets, inputs, classes).

    Only the thinned nets give more than one answer.
    """
    with microgrand.no_grad():
        weights, logits = thinned_nets(net, inputs)
        log_p = log_softmax(logits)
        one = np.ones(1)
        return {
            "one thinned net": (weights, log_p),
            "arithmetic mean": (one, np.log(np.tensordot(weights, np.exp(log_p), 1))[None]),
            "geometric mean": (one, log_softmax(np.tensordot(weights, log_p, 1))[None]),
            "weight scaling": (one, log_softmax(net(inputs)).numpy()[None]),
        }


def measure(data: training.Data, run: Run) -> Outcome:
    """Train a net, and test it by each way; thinned nets are tested one by one, and averaged."""
    rngs = training.Generators.of(run["seed"])
    (x, y), (x_test, y_test) = data.split(run["train_size"], rngs.split)
    net = training.mlp(data, *NETS[run["net"]], rngs, dtype=np.float64)
    optimizer = Adam(net.parameters(), lr=0.01)
    training.train(net, x, y, run["steps"], rngs, optimizer=optimizer)

    x_test, y_test = x_test[:COMPARED].astype(np.float64), y_test[:COMPARED]
    measured: dict[str, list[Any]] = {way: [] for way in WAYS}
    difference, shown = 0.0, []
    for start in range(0, len(x_test), 20):  # a few at a time, to save memory
        labels = y_test[start : start + 20]
        answers = averages(net, x_test[start : start + 20])
        p = {way: np.exp(log_p) for way, (_, log_p) in answers.items()}
        for way, (weights, log_p) in answers.items():
            wrong = 100 * (log_p.argmax(axis=-1) != labels)
            right = log_p[:, np.arange(len(labels)), labels]
            distance = np.abs(p[way] - p["arithmetic mean"]).sum(axis=-1) / 2
            measured[way].append(np.tensordot(weights, np.stack([wrong, right, distance], 1), 1))
        difference = max(difference, np.abs(p["weight scaling"] - p["geometric mean"]).max())
        shown.append(np.stack([p[way][0] for way in WAYS[1:]]))
    outcome: Outcome = {
        f"{way}: {name}": float(values.mean())
        for way, parts in measured.items()
        for name, values in zip(MEASURES, np.concatenate(parts, axis=1), strict=True)
    }
    outcome["difference"] = float(difference)
    if run["seed"] == 0:
        outcome["shown"] = np.concatenate(shown, axis=1)[:, :SHOWN].round(4).tolist()
    return outcome


def claims(results: Results) -> list[Claim]:
    """Compare with what the papers found."""

    def of(way: str, measure: str, net: str) -> Any:
        return results.over_seeds(f"{way}: {measure}", net=net)

    difference = results.over_seeds("difference", net=EXACT)
    return [
        Claim(
            f"({EXACT}) weight scaling is the normalised geometric mean, up to rounding",
            {"decimals that agree, beyond 12": -12 - np.log10(difference.clip(min=1e-17))},
        ),
        Claim(
            "weight scaling gives the true class a higher log probability than a thinned net does",
            {
                f"difference ({net})": of("weight scaling", "log probability", net)
                - of("one thinned net", "log probability", net)
                for net in NETS
            },
        ),
        Claim(
            "weight scaling is closer to the arithmetic mean than a thinned net is on average",
            {
                f"distances' difference ({net})": of("one thinned net", "distance", net)
                - of("weight scaling", "distance", net)
                for net in NETS
            },
        ),
        Claim(
            "weight scaling's error is closer to the arithmetic mean's than to a thinned net's",
            {
                f"{name} ({net})": values
                for net in NETS
                for name, values in within(
                    of("weight scaling", "error", net) - of("arithmetic mean", "error", net),
                    (of("one thinned net", "error", net) - of("arithmetic mean", "error", net)) / 2,
                    "difference",
                    "half of what averaging gains",
                ).items()
            },
        ),
    ]


def show(results: Results) -> str:
    """Return the table."""
    rows = []
    for net in NETS:
        rows += [["", ""], [net, ""]]
        for way in WAYS:
            cells = [results.over_seeds(f"{way}: {measure}", net=net) for measure in MEASURES]
            rows.append([way, *map(mean_and_error, cells)])
        largest = results.over_seeds("difference", net=net).max()
        rows.append(["largest difference of the last two", f"{largest:.1g}"])
    header = ("", "error", "log probability", "distance from arithmetic")
    return table(header, rows)


def draw(figure: Any, results: Results) -> None:
    """Draw each probability by weight scaling against those by the two exact means."""
    figure.set_size_inches(11, 4.4)
    panels = figure.subplots(1, len(NETS), sharex=True, sharey=True)
    for axes, net in zip(panels, NETS, strict=True):
        (shown,) = (o["shown"] for run, o in results if run["net"] == net and run["seed"] == 0)
        arithmetic, geometric, scaling = np.reshape(shown, (3, -1))
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        axes.plot(arithmetic, scaling, ".", color=ORANGE, alpha=0.7, label="arithmetic mean")
        axes.plot(geometric, scaling, ".", color=BLUE, alpha=0.7, label="geometric mean")
        axes.set(title=net.replace(", softmax", ""), xlabel="probability by exact average")
        axes.set_aspect("equal")
    panels[0].set_ylabel("probability by weight scaling")
    panels[0].legend()
    figure.suptitle(
        "One pass through the whole net, against the exact averages over 4096 thinned nets"
    )

"""Features and sparsity of an autoencoder's hidden units, without and with dropout."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import microgrand
from microgrand import nn
from microgrand.nn.functional import mse_loss

from . import training
from .claims import Claim, mean_and_error
from .runs import Outcome, Results, Run
from .style import BLUE, ORANGE, table

PAPER = """\
Sections 7.1 and 7.2, figures 7 and 8, for autoencoders with 256 ReLU units on MNIST: without
dropout, no single hidden unit shows a meaningful pattern, since they work together; with p = 0.5
they detect edges, strokes and spots. Both reconstruct test images about equally well. With dropout,
fewer units are active for an image, and the mean activation of a unit is about 0.7 instead of 2."""
STEPS = 2000
SEEDS = 8
UNITS = 256
P = 0.5
BINS = np.linspace(0, 4, 81)
SHOWN = 24  # features in the picture, of the first seed


def runs(data: training.Data, options: argparse.Namespace) -> list[Run]:
    """List the autoencoders to train."""
    return [
        {
            "experiment": "features",
            "seed": seed,
            "train_size": options.train_size or data.train_size,
            "steps": options.steps,
            "p": p,
        }
        for seed in range(options.seeds)
        for p in (0.0, P)
    ]


def locality(patterns: Any, shape: tuple[int, int]) -> Any:
    """Return how local patterns (n, pixels) are: the largest share of one window, 0 to 1.

    A share is of the sum of squared weights; the window is 3/8 of the image high and wide.
    """
    squares = (patterns**2).reshape(-1, *shape)
    window = tuple(max(1, round(3 / 8 * length)) for length in shape)
    inside = np.lib.stride_tricks.sliding_window_view(squares, window, axis=(1, 2)).sum((-2, -1))
    return inside.max(axis=(1, 2)) / squares.sum(axis=(1, 2))


def measure(data: training.Data, run: Run) -> Outcome:
    """Train an autoencoder, and look at its hidden units when it sees the test examples."""
    rngs = training.Generators.of(run["seed"])
    (x, _), (x_test, _) = data.split(run["train_size"], rngs.split)
    pixels = x.shape[1]
    shape = training.image_shape(pixels)
    encoder = nn.Sequential(nn.Linear(pixels, UNITS, rng=rngs.weights), nn.ReLU())
    decoder = nn.Linear(UNITS, pixels, rng=rngs.weights)
    net = nn.Sequential(encoder, nn.Dropout(run["p"], rng=rngs.masks), decoder)
    training.train(net, x, x, run["steps"], rngs, loss=mse_loss)

    with microgrand.no_grad():
        hidden = encoder(x_test).numpy()
        misses = np.mean((net(x_test).numpy() - x_test) ** 2)
    # The weight of a pixel that is never inked keeps its initial value and means nothing.
    seen, drawn = encoder[0].weight.data * x.std(axis=0), decoder.weight.data.T
    outcome: Outcome = {
        # 100 for an autoencoder that always draws the mean image.
        "reconstruction": float(100 * misses / x_test.var(axis=0).mean()),
        "activation": float(hidden.mean()),
        "active": float(100 * np.mean(hidden > 0)),
        "seen locally": float(100 * locality(seen, shape).mean()),
        "drawn locally": float(100 * locality(drawn, shape).mean()),
        "histogram": np.histogram(hidden.clip(max=BINS[-1]), BINS)[0].tolist(),
    }
    if run["seed"] == 0:
        busiest = np.argsort(-hidden.mean(axis=0) * np.linalg.norm(drawn, axis=1))[:SHOWN]
        outcome["seen"] = seen[busiest].round(4).tolist()
        outcome["drawn"] = drawn[busiest].round(4).tolist()
    return outcome


def claims(results: Results) -> list[Claim]:
    """Compare with what the paper found."""
    less = {
        name: results.over_seeds(name, p=0.0) - results.over_seeds(name, p=P)
        for name in ("reconstruction", "activation", "active", "seen locally", "drawn locally")
    }
    return [
        Claim(
            "dropout makes a unit active for fewer images",
            {"share without - with dropout": less["active"]},
        ),
        Claim(
            "dropout makes the mean activation smaller",
            {"mean without - with dropout": less["activation"]},
        ),
        Claim(
            "with dropout, the patterns that units look for are more local",
            {"share with - without dropout": -less["seen locally"]},
        ),
        Claim(
            "with dropout, the patterns that units draw are more local",
            {"share with - without dropout": -less["drawn locally"]},
        ),
        Claim(
            "both reconstruct about equally well: dropout adds a tenth to the error at most",
            {
                "1.1 x error without - with dropout": 1.1
                * results.over_seeds("reconstruction", p=0.0)
                - results.over_seeds("reconstruction", p=P)
            },
        ),
    ]


def show(results: Results) -> str:
    """Return the table."""
    rows = []
    for name, meaning in (
        ("reconstruction", "test images: squared error, % of their variance"),
        ("activation", "mean activation"),
        ("active", "active units, % of units and images"),
        ("seen locally", "seen pattern: % of its squares in one window"),
        ("drawn locally", "drawn pattern: % of its squares in one window"),
    ):
        without, dropout = (results.over_seeds(name, p=p) for p in (0.0, P))
        rows.append([meaning, *map(mean_and_error, (without, dropout, dropout - without))])
    return table(("", "without dropout", f"p = {P:g}", "difference"), rows)


def draw(figure: Any, results: Results) -> None:
    """Draw what units look for and draw, and how active they are."""
    columns, rows = 6, SHOWN // 6
    figure.set_size_inches(11, 6)
    above, below = figure.subfigures(2, 1, height_ratios=(5, 4))
    for i, (p, name) in enumerate(((0.0, "without dropout"), (P, "with dropout"))):
        (outcome,) = (o for run, o in results if run["p"] == p and run["seed"] == 0)
        for j, (kind, verb) in enumerate((("seen", "look for"), ("drawn", "draw"))):
            patterns = np.array(outcome[kind])
            shape = training.image_shape(patterns.shape[1])
            scale = abs(patterns).max(axis=1, keepdims=True)
            tiles = np.full((rows, shape[0] + 1, columns, shape[1] + 1), np.nan)
            tiles[:, :-1, :, :-1] = (patterns / scale).reshape(rows, columns, *shape).swapaxes(1, 2)
            axes = above.add_subplot(1, 4, 2 * j + i + 1)
            axes.imshow(
                tiles.reshape(rows * (shape[0] + 1), -1),
                cmap="PuOr_r",
                vmin=-1,
                vmax=1,
                interpolation="nearest",
                aspect="auto" if shape[0] == 1 else "equal",
            )
            axes.set_axis_off()
            axes.set_title(f"what units {verb},\n{name}")
    axes = below.subplots()
    for p, color, label in ((0.0, ORANGE, "without dropout"), (P, BLUE, "with dropout")):
        counts = np.trim_zeros(np.sum(results.over_seeds("histogram", p=p), axis=0), "b")
        edges = BINS[: len(counts) + 1]
        axes.stairs(100 * counts / counts.sum(), edges, color=color, label=label, linewidth=2)
    axes.set(xlabel="activation of a hidden unit for a test example", xlim=(0, None))
    axes.set(ylabel="% of units and examples", yscale="log")
    axes.legend()

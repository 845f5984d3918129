"""Test error of a convolutional net by which of its layers drop units, or whole channels."""

from __future__ import annotations

import argparse
from typing import Any

from microgrand import nn

from . import training
from .claims import Claim, mean_and_error
from .runs import Outcome, Results, Run
from .style import ORANGE, net_rows, table

PAPER = """\
Section 6.1.2 and table 3, on SVHN: a convolutional net has 3.95 % error, 3.02 % with dropout in its
dense layers, and 2.55 % with dropout in all layers. One may presume that convolutions, which have
few parameters, do not overfit; but dropout in these lower layers helps, too, as it gives the dense
layers above noisy inputs. Tompson et al. (CVPR 2015, section 3.2): neighbours in a feature map give
a dropped unit away, so drop whole channels."""
STEPS = 1200
SEEDS = 8
CHANNELS = 8, 16
UNITS = 128
P_CONV, P_DENSE = 0.25, 0.5  # the paper keeps 0.75 of a convolution's units, 0.5 of a dense layer's
# The kind of dropout in the convolutions, and p after the first, the last, and the dense layer.
NETS: dict[str, tuple[Any, float, float, float]] = {
    "no layer": (nn.Dropout, 0, 0, 0),
    "dense layer only": (nn.Dropout, 0, 0, P_DENSE),
    "first convolution, units": (nn.Dropout, P_CONV, 0, 0),
    "first convolution, channels": (nn.Dropout2d, P_CONV, 0, 0),
    "last convolution, units": (nn.Dropout, 0, P_CONV, 0),
    "last convolution, channels": (nn.Dropout2d, 0, P_CONV, 0),
    "all layers, units": (nn.Dropout, P_CONV, P_CONV, P_DENSE),
    "all layers, channels": (nn.Dropout2d, P_CONV, P_CONV, P_DENSE),
}


def runs(data: training.Data, options: argparse.Namespace) -> list[Run]:
    """List the nets to train."""
    return [
        {
            "experiment": "conv",
            "seed": seed,
            "train_size": options.train_size or data.train_size,
            "steps": options.steps,
            "dropout": name,
        }
        for seed in range(options.seeds)
        for name in NETS
    ]


def cnn(
    shape: tuple[int, int], classes: int, dropout: str, rngs: training.Generators
) -> nn.Sequential:
    """Make a net for images of a shape: two convolutions, a dense layer, and a linear one.

    Dropout comes after pooling. Before it, the largest unit that is kept would stand in for one
    that is dropped.
    """
    kind, *p_conv, p_dense = NETS[dropout]
    layers: list[nn.Module] = []
    channels = 1
    for more, p in zip(CHANNELS, p_conv, strict=True):
        pool = min(2, shape[0]), min(2, shape[1])
        layers += [nn.Conv2d(channels, more, 3, padding=1, rng=rngs.weights), nn.ReLU()]
        layers += [nn.MaxPool2d(pool), training.dropout(kind, p, rngs)]
        shape = shape[0] // pool[0], shape[1] // pool[1]
        channels = more
    layers += [nn.Flatten(), nn.Linear(channels * shape[0] * shape[1], UNITS, rng=rngs.weights)]
    layers += [nn.ReLU(), training.dropout(nn.Dropout, p_dense, rngs)]
    return nn.Sequential(*layers, nn.Linear(UNITS, classes, rng=rngs.weights))


def measure(data: training.Data, run: Run) -> Outcome:
    """Train a net and test it."""
    rngs = training.Generators.of(run["seed"])
    (x, y), (x_test, y_test) = data.split(run["train_size"], rngs.split)
    shape = training.image_shape(x.shape[1])
    net = cnn(shape, data.classes, run["dropout"], rngs)
    training.train(net, x.reshape(-1, 1, *shape), y, run["steps"], rngs)
    predicted = training.probabilities(net, x_test.reshape(-1, 1, *shape))
    return {
        "error": training.error(predicted, y_test),
        "parameters of the convolutions": training.parameters(net, nn.Conv2d),
        "parameters of the linear layers": training.parameters(net, nn.Linear),
    }


def claims(results: Results) -> list[Claim]:
    """Compare with what the papers found."""
    error = {name: results.over_seeds("error", dropout=name) for name in NETS}
    none, dense = error["no layer"], error["dense layer only"]
    found = [
        Claim(
            "dropout in the dense layer is better than none",
            {"error of none - of dense": none - dense},
        )
    ]
    for kind in ("units", "channels"):
        first, last, everywhere = (
            error[f"{where}, {kind}"]
            for where in ("first convolution", "last convolution", "all layers")
        )
        found += [
            Claim(
                f"of {kind}: in all layers, it is better than in the dense layer only",
                {"error of dense - of all": dense - everywhere},
            ),
            Claim(
                f"of {kind}: the convolutions add less than the dense layer gained",
                {"(none - dense) - (dense - all)": none - dense - (dense - everywhere)},
            ),
            Claim(
                f"of {kind}: in the first convolution alone, it is better than none",
                {"error of none - of first": none - first},
            ),
            Claim(
                f"of {kind}: in the last convolution alone, it is better than none",
                {"error of none - of last": none - last},
            ),
            Claim(
                f"of {kind}: in the first convolution, it is better than in the last",
                {"error of last - of first": last - first},
            ),
        ]
    channels, units = error["all layers, channels"], error["all layers, units"]
    found.append(
        Claim(
            "in all layers, dropping whole channels is better than dropping units",
            {"error with units - with channels": units - channels},
        )
    )
    return found


def show(results: Results) -> str:
    """Return the table, and how many parameters the layers have."""
    none = results.over_seeds("error", dropout="no layer")
    rows = []
    for name in NETS:
        error = results.over_seeds("error", dropout=name)
        gain = mean_and_error(none - error) if name != "no layer" else ""
        rows.append([name, mean_and_error(error), gain])
    (_, outcome), *_ = results
    return (
        f"{table((f'dropout ({P_CONV:g}; dense {P_DENSE:g})', 'error', 'gain'), rows)}\n"
        f"The convolutions have {outcome['parameters of the convolutions']} parameters, "
        f"the linear layers {outcome['parameters of the linear layers']}."
    )


def draw(figure: Any, results: Results) -> None:
    """Draw the error of each net, and of each seed."""
    axes = figure.subplots()
    errors = {name: results.over_seeds("error", dropout=name) for name in NETS}
    net_rows(axes, errors, ORANGE)
    axes.set(xlabel="test error in %", title="Test error of a CNN by the layers that have dropout")

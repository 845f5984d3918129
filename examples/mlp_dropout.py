"""What dropout does: one MLP trained without and with it on few images, over several seeds.

A net with far more weights than training images memorises them: its loss on them falls to zero
while its loss on other images rises. Dropout zeroes each hidden unit with probability p, by a new
mask in every training step, so no unit can rely on any other being there.

The comparison is paired: the two nets of a seed begin with the same weights and see the same
images in the same order. The defaults were chosen for a clear effect: a wide net, few images,
many epochs. With ``--train-size 1200`` there is little left to gain in accuracy, with
``--widths 16`` dropout does harm, and with ``--p 0`` both nets must do exactly the same.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Matrices this small gain nothing from threads, which wait for each other in a busy loop.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from shared import DATA_HELP, load, progress

import microgrand
from microgrand import nn
from microgrand.data import batches, train_test_split
from microgrand.nn.functional import cross_entropy
from microgrand.optim import Adam

BATCH_SIZE = 20
FORMATS = (".png", ".pdf", ".svg")
MEASURES = ("train loss", "test loss", "gap", "test accuracy", "training-mode loss")

# ------------------------------------------------------------------------------------ training


def set_up(seed: int, p: float, data: Any, test_set: Any, options: argparse.Namespace) -> Any:
    """Return a net, its training set and test set, and the generator of its batches.

    Each purpose has its own generator, so drawing masks changes nothing else. If the data come
    without a test set, all examples that are not trained on are tested on.
    """
    split_rng, init_rng, order_rng, mask_rng = np.random.default_rng(seed).spawn(4)
    train_set, rest = train_test_split(*data, train_size=options.train_size, rng=split_rng)
    images, labels = data
    layers: list[nn.Module] = []
    inputs = images.shape[1]
    for width in options.widths:
        # With p = 0, dropout keeps every unit: the net without dropout.
        layers += [nn.Linear(inputs, width, rng=init_rng), nn.ReLU(), nn.Dropout(p, rng=mask_rng)]
        inputs = width
    layers.append(nn.Linear(inputs, labels.max() + 1, rng=init_rng))
    return nn.Sequential(*layers), train_set, test_set or rest, order_rng


def train(
    net: nn.Module, train_set: Any, test_set: Any, order_rng: Any, epochs: int, lr: float
) -> list[tuple[float, ...]]:
    """Train the net, and return its `MEASURES` at the end of each epoch."""
    optimizer = Adam(net.parameters(), lr=lr)
    history = []
    for _ in range(epochs):
        net.train()
        for images, labels in batches(*train_set, batch_size=BATCH_SIZE, rng=order_rng):
            optimizer.zero_grad()
            cross_entropy(net(images), labels).backward()
            optimizer.step()
        # The same images and the same weights in both modes: only the masks differ.
        training_mode_loss, _ = evaluate(net, *train_set)
        net.eval()
        train_loss, _ = evaluate(net, *train_set)
        test_loss, accuracy = evaluate(net, *test_set)
        gap = test_loss - train_loss
        history.append((train_loss, test_loss, gap, accuracy, training_mode_loss))
    return history


def evaluate(net: nn.Module, images: Any, labels: Any) -> tuple[float, float]:
    """Return the loss and the accuracy in percent, in the net's current mode."""
    with microgrand.no_grad():
        logits = net(images)
        hits = logits.numpy().argmax(axis=1) == labels
        return cross_entropy(logits, labels).item(), 100 * hits.mean()


# --------------------------------------------------------------------------------- conclusions


def judge(gains: Any) -> str:
    """Say what dropout's gains over the seeds show, by a two-sided sign test at 5 %.

    If dropout had no effect, it would win a seed as often as lose it, like a fair coin.
    """
    wins, losses = int((gains > 0).sum()), int((gains < 0).sum())
    n, most = wins + losses, max(wins, losses)
    chance = min(1.0, 2 * sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n)
    verdict = "not clearly different" if chance > 0.05 else "better" if wins > losses else "worse"
    return (
        f"{verdict}:\n  {wins} wins and {losses} losses, "
        f"and a fair coin is at least as one-sided in {chance:.1%} of cases"
    )


def report(history: Any, p: float) -> None:
    """Print the table and the conclusions; `history` is (seeds, nets, epochs, measures)."""
    seeds, _, epochs, _ = history.shape
    plain, dropout = history[:, 0, -1].T, history[:, 1, -1].T
    gains = {}
    print(f"After {epochs} epochs, mean ± standard deviation over {seeds} seeds (accuracy in %):\n")
    columns = ("without dropout", f"dropout, p = {p:g}", "difference", "dropout wins")
    print(" " * 20 + "".join(f"{column:>18}" for column in columns))
    for name, without, with_dropout in zip(MEASURES, plain, dropout, strict=True):
        difference = with_dropout - without
        gains[name] = difference if name == "test accuracy" else -difference
        values = (without, with_dropout, difference)
        cells = [f"{x.mean():.3f} ± {x.std(ddof=1):.3f}" for x in values]
        cells.append(f"{(gains[name] > 0).sum()} of {seeds}")
        print(f"{name:20}" + "".join(f"{cell:>18}" for cell in cells))
    best = history[..., MEASURES.index("test loss")].mean(axis=0).min(axis=1)
    print(
        "\nAll but the last are measured in evaluation mode; the gap is test minus train loss.\n"
        f"Test loss at its best epoch: {best[0]:.3f} without dropout, {best[1]:.3f} with it.\n"
    )
    for name in ("test loss", "test accuracy"):
        print(f"Conclusion: with dropout, the {name} is {judge(gains[name])}.")

    # The curves of the net with dropout, mean over the seeds.
    train_loss, test_loss, _, _, training_mode_loss = history[:, 1].mean(axis=0).T
    excess = training_mode_loss - test_loss
    i = excess.argmax()
    if not excess[i] > 0:
        print("\nThe training-mode loss with dropout was never above its test loss here.")
        return
    print(f"""
The puzzle: with dropout, the training-mode loss was higher than the test loss after
{(excess > 0).sum()} of the {epochs} epochs. After epoch {i + 1}, for example, it was
  {training_mode_loss[i]:.3f}  on the training images in training mode,
  {test_loss[i]:.3f}  on the test images,
  {train_loss[i]:.3f}  on the training images in evaluation mode, with the same weights.
Training runs a thinned net, with about {p:.0%} of its hidden units zeroed; testing runs the
whole one. To see how far a net overfits, compare both losses in evaluation mode.""")


# ------------------------------------------------------------------------------------- picture


def draw(path: Path, history: Any, net: nn.Sequential, images: Any, labels: Any) -> None:
    """Save a picture of the learning curves, and of the masks in one training step of `net`."""
    try:
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure
    except ImportError:
        print("\nNo picture was drawn; install matplotlib to have one.")
        return
    figure = Figure(figsize=(12, 6), layout="constrained")
    panels = figure.subplot_mosaic("AB;AC;AD")

    curves = panels["A"]
    epochs = np.arange(1, history.shape[2] + 1)
    for i, measure, style, label in (
        (0, "test loss", "-", "without dropout: test"),
        (0, "train loss", ":", "without dropout: train"),
        (1, "test loss", "-", "with dropout: test"),
        (1, "train loss", ":", "with dropout: train"),
        (1, "training-mode loss", "--", "with dropout: train, thinned net (training mode)"),
    ):
        values = history[:, i, :, MEASURES.index(measure)]
        mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
        color = ("#D55E00", "#0072B2")[i]
        curves.plot(epochs, mean, style, color=color, linewidth=2.5, label=label)
        curves.fill_between(epochs, mean - spread, mean + spread, color=color, alpha=0.12, lw=0)
    plain, dropout = history[:, :, -1, MEASURES.index("test loss")].mean(axis=0)
    curves.set(xlim=(0, len(epochs)), ylim=(0, 2.5 * max(plain, dropout)))
    curves.set(xlabel="epoch", ylabel=f"cross-entropy loss, mean ± sd over {len(history)} seeds")
    curves.set_title(f"Test loss {plain:.2f} without dropout, {dropout:.2f} with it")
    curves.legend()

    # One training step by hand, to look at the first hidden layer before ReLU and after dropout.
    linear, relu, dropout, rest = net[0], net[1], net[2], net[3:]
    before = linear(images).retain_grad()
    after = dropout(relu(before))
    cross_entropy(rest(after), labels).backward()
    masks = np.where(dropout.mask, np.where(relu.mask, 2, 1), 0)
    mask_colors = ListedColormap(["0.2", "0.75", "1"])
    for name, values, title in (
        ("B", np.zeros(masks.shape), "Masks: dropped (dark), cut by ReLU (grey), kept (white)"),
        ("C", after.detach().numpy(), "Forward: what leaves these units is 0 at both masks"),
        ("D", before.grad, "Backward: their gradient is 0 in the same places"),
    ):
        # A value's colour hides the masks behind it, unless the value is exactly zero.
        nonzero = np.ma.masked_equal(values[:, :32], 0)
        limit = abs(values).max() / 2 or 1
        panels[name].imshow(masks[:, :32], cmap=mask_colors, vmin=0, vmax=2, aspect="auto")
        panels[name].imshow(nonzero, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
        panels[name].set(title=title, ylabel="image", yticks=range(0, len(images), 5))
    panels["D"].set(xlabel="unit of the first hidden layer (orange: positive, purple: negative)")
    figure.savefig(path, dpi=120)
    print(f"\nThe picture is in {path}.")


# ----------------------------------------------------------------------------------------- run


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison; exit with a message if an option is impossible."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    option = parser.add_argument
    option("--data", default="digits", help=DATA_HELP)
    option("--p", type=float, default=0.5, help="probability of dropping a hidden unit")
    option("--widths", type=int, nargs="+", default=[128, 128, 128], help="units of hidden layers")
    option("--epochs", type=int, default=80, help="passes over the training images")
    option("--lr", type=float, default=0.001, help="learning rate of Adam")
    option("--train-size", type=int, default=200, help="number of images to train on")
    option("--seeds", type=int, default=10, help="number of seeds, with two nets for each")
    option("--picture", type=Path, default="mlp_dropout.png", help="file for the picture")
    options = parser.parse_args(argv)
    try:
        name, data, test_set = load(options.data)
    except (OSError, ValueError) as error:
        parser.error(f"--data: {error}")
    most, picture = len(data[0]) - 1, options.picture
    for possible, message in (
        (0 <= options.p <= 1, f"--p is a probability, from 0 to 1, got {options.p}"),
        (min(options.widths) >= 1, f"--widths are at least 1, got {options.widths}"),
        (options.epochs >= 1, f"--epochs is at least 1, got {options.epochs}"),
        (0 < options.lr < math.inf, f"--lr is positive and finite, got {options.lr}"),
        (1 <= options.train_size <= most, f"--train-size is 1 to {most}, got {options.train_size}"),
        (options.seeds >= 2, f"--seeds is at least 2, for a spread, got {options.seeds}"),
        (picture.parent.is_dir(), f"--picture: there is no folder {picture.parent}; make it first"),
        (picture.suffix in FORMATS, f"--picture ends in {', '.join(FORMATS)}, got {picture}"),
        (not picture.is_dir(), f"--picture is a file, and {picture} is a folder"),
    ):
        if not possible:
            parser.error(message)

    net, (images, labels), (test_images, _), _ = set_up(0, options.p, data, test_set, options)
    sizes = [layer.weight.shape for layer in net if isinstance(layer, nn.Linear)]
    print(
        f"{len(images)} images to train on, {len(test_images)} to test on, from {name}\n"
        f"MLP {'-'.join(str(inputs) for _, inputs in sizes)}-{sizes[-1][0]}, Adam, learning rate "
        f"{options.lr:g}, batches of {BATCH_SIZE}\n"
        "Both nets of a seed begin with the same weights and get the same batches\n"
    )
    runs = [(seed, p) for seed in range(options.seeds) for p in (0.0, options.p)]
    curves = [
        train(*set_up(seed, p, data, test_set, options), options.epochs, options.lr)
        for seed, p in progress(runs, "nets trained")
    ]
    history = np.reshape(curves, (options.seeds, 2, options.epochs, len(MEASURES)))
    if not np.isfinite(history).all():
        sys.exit(f"Training diverged, a loss is not finite; try an --lr below {options.lr:g}.")
    report(history, options.p)
    draw(options.picture, history, net, images[:12], labels[:12])


if __name__ == "__main__":
    main()

"""What dropout gains in nets that write text: a small GPT and an LSTM, without and with it.

Both learn to tell the next character of Python's own documentation, which every Python carries.
The GPT drops weights of its attention, units, and what is added to its residual stream. The LSTM
has variational dropout (Gal and Ghahramani 2016): one mask for all characters of a window, for the
embeddings, between the layers and before the output; its recurrent weights are all kept.

The comparison is paired: the two nets of a seed begin with the same weights and see the same
windows of the same text in the same order. Their text is short, so that a net can memorise it.

    python examples/char_gpt.py                            # a few nets: it runs, and shows how
    python examples/char_gpt.py --long --checkpoint run.npz  # enough for a verdict

Stop it at any moment, or add seeds later: with ``--checkpoint``, the same command resumes where it
stopped, to the bit.
"""

import argparse
import functools
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Matrices this small gain nothing from threads, which wait for each other in a busy loop.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from dropout_paper.claims import LEVEL, Claim, mean_and_error
from dropout_paper.style import BLUE, ORANGE, table
from shared import progress

from microgrand import checkpoint, compile, manual_seed, nn, no_grad
from microgrand.nn import functional as F
from microgrand.optim import AdamW, lr_scheduler

FORMATS = (".png", ".pdf", ".svg")
BATCH_SIZE = 8  # windows
HEADS = 4
PARTS = 10  # of a training; after each, the losses are measured and the checkpoint is saved
MEASURED = 64  # windows of each text, evenly spaced, that the losses are measured on
SAMPLE = 300  # characters
TIMED = 10  # steps

# ---------------------------------------------------------------------------------------- text


class Text:
    """Characters by number, and two texts of them: one to train on and one to validate.

    The documentation's sections contain each other, so each paragraph is taken once. Paragraphs
    are shuffled for each seed; all that is not trained on is left to validate.
    """

    def __init__(self, train_size: int, seed: int) -> None:
        pieces = paragraphs()
        order = np.random.default_rng(seed).permutation(len(pieces))
        whole = "\n\n".join(pieces[i] for i in order)
        self.characters = sorted(set(whole))
        codes = np.frombuffer(whole.encode("utf-32-le"), "<u4")
        numbers = np.searchsorted([ord(character) for character in self.characters], codes)
        self.train = numbers[:train_size]
        self.validation = numbers[train_size:]

    def read(self, numbers: Any) -> str:
        """Return the characters of these numbers."""
        return "".join(self.characters[i] for i in numbers)


@functools.cache
def paragraphs() -> list[str]:
    """Return each paragraph of Python's documentation of its topics once."""
    from pydoc_data.topics import topics

    pieces = "\n\n".join(topics[name] for name in sorted(topics)).split("\n\n")
    return list(dict.fromkeys(piece.strip("\n") for piece in pieces if piece.strip()))


def most_characters() -> int:
    """Return how many characters can be trained on, with as many left to validate."""
    return sum(len(piece) + 2 for piece in paragraphs()) // 2 - 1


def windows(text: Any, starts: Any, context: int) -> tuple[Any, Any]:
    """Return the windows that begin at these places, and the character after each character."""
    places = np.asarray(starts)[:, None] + np.arange(context)
    return text[places], text[places + 1]


# ---------------------------------------------------------------------------------------- nets


class GPT(nn.Module):
    """Causal attention and a small net, layer over layer, each beside a residual (GPT-2).

    The output's weights are the embedding's.
    """

    def __init__(self, characters: int, p: float, options: argparse.Namespace) -> None:
        width = options.width
        self.embedding = nn.Embedding(characters, width)
        self.places = nn.Embedding(options.context, width)
        self.dropout = nn.Dropout(p)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, HEADS, 4 * width, p, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(options.layers)
        )
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                # 2 is the number of branches of a layer: what all of them add stays of one size.
                branch = name.endswith(("out_proj.weight", "linear2.weight"))
                nn.init.normal_(parameter, 0, 0.02 / math.sqrt(2 * options.layers if branch else 1))

    def forward(self, x: Any) -> Any:
        """Map characters ``(n, context)`` to the logits of the next ones."""
        x = self.dropout(self.embedding(x) + self.places(np.arange(x.shape[1])))
        for layer in self.layers:
            x = layer(x, is_causal=True)
        return F.linear(self.norm(x), self.embedding.weight)


class LSTM(nn.Module):
    """Recurrent layers with variational dropout."""

    def __init__(self, characters: int, p: float, options: argparse.Namespace) -> None:
        width = options.width
        self.embedding = nn.Embedding(characters, width)
        self.before = nn.Dropout(p, shared_axes=1)
        between = p if options.layers > 1 else 0.0
        self.lstm = nn.LSTM(
            width, width, options.layers, batch_first=True, dropout=between, variational=True
        )
        self.after = nn.Dropout(p, shared_axes=1)
        self.output = nn.Linear(width, characters)

    def forward(self, x: Any) -> Any:
        """Map characters ``(n, context)`` to the logits of the next ones."""
        x, _ = self.lstm(self.before(self.embedding(x)))
        return self.output(self.after(x))


MODELS = {"gpt": GPT, "lstm": LSTM}
#: The learning rates of both that are taken if none is given.
RATES = {"gpt": 0.003, "lstm": 0.01}

# ------------------------------------------------------------------------------------ training


class Training:
    """A net with all that its training needs, and the losses that were measured so far."""

    def __init__(self, run: Sequence[Any], options: argparse.Namespace) -> None:
        kind, seed, p = run
        manual_seed(seed)  # draws weights, then masks
        self.order = np.random.default_rng(seed)  # draws the windows
        self.options = options
        self.text = Text(options.train_size, seed)
        self.net = MODELS[kind](len(self.text.characters), p, options)
        parameters = list(self.net.parameters())
        # Biases and norms are not pulled towards zero.
        groups = [
            {"params": [x for x in parameters if x.ndim > 1]},
            {"params": [x for x in parameters if x.ndim <= 1], "weight_decay": 0.0},
        ]
        lr = options.lr or RATES[kind]
        self.optimizer = AdamW(groups, lr=lr, betas=(0.9, 0.99), weight_decay=0.1)
        warm_up = max(1, options.steps // 10)
        self.scheduler = lr_scheduler.SequentialLR(
            self.optimizer,
            [
                lr_scheduler.LinearLR(self.optimizer, 0.1, total_iters=warm_up),
                lr_scheduler.CosineAnnealingLR(
                    self.optimizer, T_max=max(1, options.steps - warm_up), eta_min=lr / 10
                ),
            ],
            milestones=[warm_up],
        )
        self.eager_step = make_step(self.net, self.optimizer)
        self.step = compile(self.eager_step)
        self.curve: list[list[float]] = []  # of train and validation loss

    def train(self, steps: int, step: Callable[..., Any] | None = None) -> list[float]:
        """Take a number of steps; return the losses."""
        step = step or self.step
        context, text = self.options.context, self.text.train
        self.net.train()
        losses = []
        for _ in range(steps):
            starts = self.order.integers(0, len(text) - context, BATCH_SIZE)
            losses.append(step(*windows(text, starts, context)).item())
            self.scheduler.step()
        return losses

    def train_part(self) -> None:
        """Take a part of all steps, and measure the losses."""
        part = len(self.curve)
        done, then = (self.options.steps * i // PARTS for i in (part, part + 1))
        self.train(then - done)
        self.net.eval()
        self.curve.append([self.loss(text) for text in (self.text.train, self.text.validation)])

    def loss(self, text: Any) -> float:
        """Return the mean loss in windows all over a text, with the whole net."""
        context = self.options.context
        starts = np.linspace(0, len(text) - context - 1, MEASURED).astype(int)
        with no_grad():
            losses = [
                F.cross_entropy(self.net(x).swapaxes(1, 2), following).item()
                for x, following in (windows(text, some, context) for some in np.split(starts, 2))
            ]
        return float(np.mean(losses))

    def write(self) -> str:
        """Return characters drawn one after the other by what the net gives them."""
        rng = np.random.default_rng(0)
        numbers = [self.text.characters.index("\n")]
        self.net.eval()
        with no_grad():
            for _ in range(SAMPLE):
                logits = self.net(np.array([numbers[-self.options.context :]]))[0, -1]
                probabilities = F.softmax(logits).numpy().astype(float)
                numbers.append(
                    rng.choice(len(probabilities), p=probabilities / probabilities.sum())
                )
        return self.text.read(numbers[1:])


def make_step(net: nn.Module, optimizer: Any) -> Callable[..., Any]:
    """Return a function that changes the weights by one batch, and returns the loss.

    It closes over the net and the optimizer alone: a compiled step is traced again when a number
    that it could read has changed, such as a scheduler's count.
    """

    def step(x: Any, following: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x).swapaxes(1, 2), following)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


def train_all(runs: Sequence[Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train a net for each run, from where the checkpoint ends; return curves and samples."""
    decisive = {name: getattr(options, name) for name in DECISIVE}
    done: list[dict[str, Any]] = []
    training, path = None, options.checkpoint
    if path and path.exists():
        extra = checkpoint.load(path)["extra"]
        check_fits(extra, decisive)
        done = extra["done"][: len(runs)]
        if len(done) < len(runs) and len(extra["curve"]) < PARTS:
            training = Training(runs[len(done)], options)
            parts = {"optimizer": training.optimizer, "scheduler": training.scheduler}
            checkpoint.load(path, model=training.net, **parts)
            training.order, training.curve = extra["order"], extra["curve"]
            print(f"Going on from {path}, with net {len(done) + 1}\n")
    begun = len(training.curve) if training else 0
    todo = range(len(done) * PARTS + begun, len(runs) * PARTS)
    for _ in progress(todo, "nets trained, in parts", unit="part"):
        training = training or Training(runs[len(done)], options)
        training.train_part()
        if not np.isfinite(training.curve).all():
            lr = training.optimizer.param_groups[0]["initial_lr"]
            sys.exit(f"Training diverged, a loss is not finite; try an --lr below {lr:g}.")
        if len(training.curve) == PARTS:
            _, seed, p = runs[len(done)]
            is_shown = seed == 0 and p == options.p
            sample = training.write() if is_shown else None
            done.append({"curve": training.curve, "sample": sample})
            if len(done) < len(runs):
                training = Training(runs[len(done)], options)
        if path:
            extra = {"options": decisive, "done": done}
            extra |= {"order": training.order, "curve": training.curve}
            parts = {"optimizer": training.optimizer, "scheduler": training.scheduler}
            checkpoint.save(path, model=training.net, **parts, extra=extra)
    return done


def check_fits(extra: Any, decisive: dict[str, Any]) -> None:
    """Raise if a checkpoint is of another experiment."""
    if not isinstance(extra, dict) or "done" not in extra:
        raise ValueError("it is not one of this program's")
    for name, value in decisive.items():
        if (given := extra["options"].get(name)) != value:
            raise ValueError(f"it is of a run with {name} {given}, and now it is {value}")


def compare_speed(run: Sequence[Any], options: argparse.Namespace) -> tuple[float, float]:
    """Return the milliseconds of a step, eager and compiled; raise if their losses differ."""
    times, losses = [], []
    for is_compiled in (False, True):
        training = Training(run, options)
        step = training.step if is_compiled else training.eager_step
        losses.append(training.train(2, step))  # the first is watched, the second recorded
        spent = []
        for _ in range(TIMED):
            start = time.process_time()
            losses[-1] += training.train(1, step)
            spent.append(time.process_time() - start)
        times.append(1000 * float(np.median(spent)))
    if losses[0] != losses[1]:
        raise RuntimeError(
            f"the compiled step's losses are {losses[1]}, the eager ones {losses[0]}"
        )
    return times[0], times[1]


# ------------------------------------------------------------------------------------- results


def report(curves: Any, options: argparse.Namespace) -> None:
    """Print the table and the verdicts; `curves` is (models, seeds, nets, parts, losses)."""
    seeds = curves.shape[1]
    rows = []
    for model, of_model in zip(options.model, curves, strict=True):
        for i, p in enumerate((0.0, options.p)):
            train, validation = of_model[:, i, -1].T
            best = of_model[:, i, :, 1]
            numbers = (train, validation, validation - train, best.min(axis=1))
            at = options.steps * (best.mean(axis=0).argmin() + 1) // PARTS
            cells = [mean_and_error(x) for x in numbers]
            rows.append((model, f"{p:g}", *cells, f"{at}"))
    header = ("model", "p", "train", "validation", "gap", "best validation", "at step")
    print(f"Loss a character, mean ± standard error over {seeds} seeds:\n")
    print(table(header, rows))
    print("\nAll are measured with the whole net. The best validation loss is that of a net whose")
    print(f"training is stopped in time: the least of {PARTS} measured.\n")
    gains = {}
    for model, of_model in zip(options.model, curves, strict=True):
        validation = of_model[..., 1]
        last = validation[:, 0, -1] - validation[:, 1, -1]
        best = validation[:, 0].min(axis=1) - validation[:, 1].min(axis=1)
        gains[model] = best
        print(Claim(f"the {model} gains from dropout, at the end", {"end": last}))
        print(Claim(f"the {model} gains, both stopped in time", {"best": best}))
    if len(gains) == 2:
        (first, a), (second, b) = gains.items()
        name = f"{first}'s gain - {second}'s"
        print(
            Claim(f"the {first} gains more than the {second}, both stopped in time", {name: a - b})
        )
    print("(Chance: how often luck alone puts the mean as far from zero, by a sign-flip test.)")
    if 2 / 2**seeds > LEVEL:
        print(f"With {seeds} seeds nothing can be decided; it takes at least 6, as with --long.")


def draw(path: Path, curves: Any, options: argparse.Namespace) -> None:
    """Save a picture of the losses during the training."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("\nNo picture was drawn; install matplotlib to have one.")
        return
    figure = Figure(figsize=(5.5 * len(options.model), 4.5), layout="constrained")
    panels = figure.subplots(1, len(options.model), sharey=True, squeeze=False)[0]
    steps = [options.steps * (i + 1) // PARTS for i in range(PARTS)]
    for panel, model, of_model in zip(panels, options.model, curves, strict=True):
        for i, p, color in ((0, 0.0, ORANGE), (1, options.p, BLUE)):
            for k, name, style in ((1, "validation", "-"), (0, "train", ":")):
                values = of_model[:, i, :, k]
                mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
                label = f"p = {p:g}: {name}"
                panel.plot(steps, mean, style, color=color, linewidth=2, label=label)
                panel.fill_between(steps, mean - spread, mean + spread, color=color, alpha=0.12)
        panel.set(title=model, xlabel="step")
        panel.legend()
    panels[0].set(ylabel=f"loss a character, mean ± sd over {curves.shape[1]} seeds")
    figure.savefig(path, dpi=100)
    print(f"\nThe picture is in {path}.")


# ----------------------------------------------------------------------------------------- run

#: The options that decide what is trained.
DECISIVE = ("model", "p", "steps", "train_size", "lr", "layers", "width", "context")
SEEDS, STEPS = (2, 6), (600, 1500)  # by default, and with --long


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison; exit with a message if an option is impossible."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    option = parser.add_argument
    both = sorted(MODELS)
    option("--model", nargs="+", choices=both, default=both, help="what is trained")
    option("--p", type=float, default=0.2, help="probability of dropping, beside 0")
    steps = "batches to train a net on (default: {}, {} with --long)".format(*STEPS)
    option("--steps", type=int, default=argparse.SUPPRESS, help=steps)
    seeds = "two nets of a model for each (default: {}, {} with --long)".format(*SEEDS)
    option("--seeds", type=int, default=argparse.SUPPRESS, help=seeds)
    option("--long", action="store_true", help="train more nets, for longer: enough to decide")
    option("--train-size", type=int, default=6000, help="characters to train on")
    rates = ", ".join(f"{rate:g} for the {model}" for model, rate in RATES.items())
    rate = f"highest learning rate of AdamW (default: {rates})"
    option("--lr", type=float, default=argparse.SUPPRESS, help=rate)
    option("--layers", type=int, default=2, help="layers of a net")
    option("--width", type=int, default=64, help=f"features of a layer, a multiple of {HEADS}")
    option("--context", type=int, default=32, help="characters of a window")
    option("--checkpoint", type=Path, help="file to resume from, .npz or .safetensors")
    option("--picture", type=Path, default="char_gpt.png", help="file for the picture")
    options = parser.parse_args(argv)
    options.model = list(dict.fromkeys(options.model))
    options.steps = getattr(options, "steps", STEPS[options.long])
    options.seeds = getattr(options, "seeds", SEEDS[options.long])
    options.lr = getattr(options, "lr", None)
    most, least = most_characters(), options.context + 2
    picture, path = options.picture, options.checkpoint
    for possible, message in (
        (0 < options.p <= 1, f"--p is a probability above 0, to 1, got {options.p}"),
        (options.steps >= PARTS, f"--steps is at least {PARTS}, got {options.steps}"),
        # 20 seeds have a million ways to choose the signs of their differences.
        (2 <= options.seeds <= 20, f"--seeds is 2 to 20, for a spread, got {options.seeds}"),
        (options.context >= 1, f"--context is at least 1, got {options.context}"),
        (
            least <= options.train_size <= most,
            f"--train-size is {least} to {most} with this --context, got {options.train_size}",
        ),
        (
            options.lr is None or 0 < options.lr < math.inf,
            f"--lr is positive and finite, got {options.lr}",
        ),
        (options.layers >= 1, f"--layers is at least 1, got {options.layers}"),
        (
            options.width >= 1 and options.width % HEADS == 0,
            f"--width is a multiple of {HEADS}, the number of heads, got {options.width}",
        ),
        (picture.parent.is_dir(), f"--picture: there is no folder {picture.parent}; make it first"),
        (picture.suffix in FORMATS, f"--picture ends in {', '.join(FORMATS)}, got {picture}"),
        (not picture.is_dir(), f"--picture is a file, and {picture} is a folder"),
        (
            path is None or path.suffix in (".npz", ".safetensors"),
            f"--checkpoint ends in .npz or .safetensors, got {path}",
        ),
        (
            path is None or path.parent.is_dir(),
            f"--checkpoint: there is no folder {path and path.parent}; make it first",
        ),
    ):
        if not possible:
            parser.error(message)

    runs = [
        (model, seed, p)
        for seed in range(options.seeds)
        for model in options.model
        for p in (0.0, options.p)
    ]
    text = Text(options.train_size, 0)
    print(
        f"{len(text.train)} characters to train on, {len(text.validation)} to validate, of "
        f"{len(text.characters)} kinds, from the documentation of Python "
        f"{'.'.join(map(str, sys.version_info[:3]))}\n"
        f"{len(runs)} nets of {options.layers} layers of {options.width} features; "
        f"{options.steps} steps of {BATCH_SIZE} windows of {options.context} characters"
    )
    for model in options.model:
        size = sum(x.size for x in MODELS[model](len(text.characters), 0.0, options).parameters())
        eager, compiled = compare_speed((model, 0, options.p), options)
        print(
            f"A step of the {model}, {size} parameters, takes {eager:.1f} ms eagerly, "
            f"{compiled:.1f} ms compiled, with the same losses to the last bit"
        )
    print()
    try:
        outcomes = train_all(runs, options)
    except (OSError, ValueError) as error:
        if path is None:
            raise
        parser.error(f"--checkpoint: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\nInterrupted; the same command resumes from {path}." if path else 130)
    shape = (options.seeds, len(options.model), 2, PARTS, 2)
    curves = np.reshape([outcome["curve"] for outcome in outcomes], shape).swapaxes(0, 1)
    report(curves, options)
    for (model, _, p), outcome in zip(runs, outcomes, strict=True):
        if outcome["sample"] is not None:
            print(f"\nWhat the {model} with p = {p:g} writes:\n\n{outcome['sample']}")
    draw(picture, curves, options)


if __name__ == "__main__":
    main()

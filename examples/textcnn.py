"""Dropout in a TextCNN: before its last layer, as usual, or in its convolution, too.

Y. Kim (2014), "Convolutional Neural Networks for Sentence Classification", EMNLP: a sentence's word
vectors, convolutions of widths 3, 4 and 5 over them, of each feature map the maximum over time, and
one linear layer. Its only dropout is before that layer, whose weights have a largest norm of 3.
Why is there none in the convolution? Nets of a seed begin with the same weights and see the same
sentences, so they are compared in pairs.

    python examples/textcnn.py                      # sentences that every Python carries
    python examples/textcnn.py --data trec --long   # a folder with the TREC questions

Finished nets are kept in a file: an interrupted command resumes where it stopped when you give it
again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Matrices this small gain nothing from threads, which wait for each other in a busy loop.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from dropout_paper import training
from dropout_paper.claims import Claim, mean_and_error, within
from dropout_paper.report import draw as draw_picture
from dropout_paper.report import report
from dropout_paper.runs import Outcome, Results, Run, Store, finish
from dropout_paper.style import ORANGE, net_rows, table

from microgrand import nn
from microgrand.nn.functional import relu
from microgrand.optim import Adam, project_max_norm

PAPER = """\
Kim, section 4.3: dropout with p = 0.5 before the last layer consistently added 2 to 4 % relative
performance; there is none in the convolution. Srivastava et al. 2014, section 6.1.2: convolutions
have few parameters, so one may expect no gain there; they found a small one, by noisy inputs for
the later layers. So dropout belongs into early layers rather than late ones."""
FILES = "TREC.train.all", "TREC.test.all"
TOPICS = 8  # the classes of the default text
LENGTH = 24  # words of a sentence; the rest is cut off
WIDTHS = 3, 4, 5
FEATURES = 48  # of a word's vector; the paper has 300
MAPS = 24  # of each width; the paper has 100
MAX_NORM = 3.0
P = 0.5
LR = 0.003  # of Adam; the paper has Adadelta
# Where dropout is, and p for word vectors, units of maps, whole maps, and before the last layer.
NETS = {
    "none": (0, 0, 0, 0),
    "before the last layer": (0, 0, 0, P),
    "units of the maps": (0, P, 0, 0),
    "both of these": (0, P, 0, P),
    "word vectors, and before the last layer": (P, 0, 0, P),
    "whole maps": (0, 0, P, 0),
}

# ------------------------------------------------------------------------------------- the text


def tokens(sentence: str) -> list[str]:
    """Split a sentence into lower-case words, numbers and other characters.

    Examples
    --------
    >>> tokens("It's 2.5 times x_1.")
    ['it', "'", 's', '2', '.', '5', 'times', 'x', '_', '1', '.']
    """
    return re.findall(r"[^\W\d_]+|\d+|[^\w\s]|_", sentence.lower())


def sentences(text: str) -> list[list[str]]:
    r"""List the sentences of a text that end with a full stop and have at least five words.

    Examples
    --------
    >>> sentences("A title\n=======\n\nHere is a\nsentence. Short.\n\n   x = 1")
    [['here', 'is', 'a', 'sentence', '.']]
    """
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
            words = tokens(sentence)
            if len(words) >= 5 and words[-1] == ".":
                found.append(words)
    return found


def numbered(texts: Sequence[Sequence[str]]) -> Any:
    """Return a row for each text: its words' numbers from 1, as often as they occur, then zeros."""
    numbers: defaultdict[str, int] = defaultdict(lambda: len(numbers) + 1)
    rows = np.zeros((len(texts), LENGTH), np.int64)
    for row, words in zip(rows, texts, strict=True):
        known = [numbers[word] for word in words[:LENGTH]]
        row[: len(known)] = known
    return rows


def load_topics() -> training.Data:
    """Take sentences of the `TOPICS` longest topics of Python's own help, told by their topic.

    A sentence that stands in several topics, or twice in one, is taken once or not at all.
    """
    from pydoc_data.topics import topics

    topics_of: defaultdict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    for topic, text in topics.items():
        for words in sentences(text):
            topics_of[tuple(words)][topic] = None
    of_topic = defaultdict(list)
    for words, (topic, *others) in topics_of.items():
        if not others:
            of_topic[topic].append(words)
    longest = sorted(of_topic, key=lambda topic: (-len(of_topic[topic]), topic))[:TOPICS]
    texts = [words for topic in longest for words in of_topic[topic]]
    labels = np.repeat(np.arange(len(longest)), [len(of_topic[topic]) for topic in longest])
    # Versions of Python differ in their help.
    version = ".".join(map(str, sys.version_info[:2]))
    name = f"sentences of Python {version}'s help on {', '.join(longest)}"
    test_size = len(texts) // 5
    return training.Data(name, numbered(texts), labels, test_size, False, len(texts) - test_size)


def read_questions(path: Path) -> tuple[list[list[str]], list[int]]:
    """Read a file with a class and a question on each line; return the words and the classes."""
    texts, labels = [], []
    for number, line in enumerate(path.read_text(encoding="latin-1").split("\n"), 1):
        label, *words = line.split() or [""]
        if label.isdecimal() and words:
            texts.append(words)
            labels.append(int(label))
        elif line.strip():
            raise ValueError(
                f"line {number} of {path} is {line[:40]!r}, expected a class, an integer from 0, "
                "and words after it"
            )
    if not texts:
        raise ValueError(f"{path} has no line; it needs a class and a question on each")
    return texts, labels


def load(source: str) -> training.Data:
    """Load ``"topics"``, or questions from the folder of that name.

    Raises
    ------
    OSError, ValueError
        If `source` names no text, or the files are missing or damaged.
    """
    if source == "topics":
        return load_topics()
    folder = Path(source)
    if not folder.is_dir():
        raise ValueError(f"expected topics or a folder, got {source}; no such folder")
    (texts, labels), (test_texts, test_labels) = (read_questions(folder / name) for name in FILES)
    if max(test_labels) > max(labels):
        raise ValueError(
            f"{folder / FILES[1]} has a question of class {max(test_labels)}, expected at most "
            f"{max(labels)}, as in {FILES[0]}"
        )
    return training.Data(
        f"the questions in {folder}",
        numbered(texts + test_texts),
        np.array(labels + test_labels),
        len(test_labels),
        True,
        len(labels),
    )


# --------------------------------------------------------------------------------------- the net


class TextCNN(nn.Module):
    """Kim's net, with word vectors that begin at random, and dropout in the places of `NETS`."""

    def __init__(self, words: int, classes: int, run: Run, rngs: training.Generators) -> None:
        p_vectors, p_units, p_maps, p_last = NETS[run["dropout"]]
        features, maps = run["features"], run["maps"]
        self.embedding = nn.Embedding(words, features, padding_idx=0, rng=rngs.weights)
        nn.init.uniform_(self.embedding.weight, -0.25, 0.25, generator=rngs.weights)
        self.embedding.weight.data[0] = 0  # what fills short sentences up
        self.convolutions = [
            nn.Conv1d(features, maps, width, padding="same", rng=rngs.weights) for width in WIDTHS
        ]
        self.output = nn.Linear(maps * len(WIDTHS), classes, rng=rngs.weights)
        self.drop_vectors = training.dropout(nn.Dropout, p_vectors, rngs)
        self.drop_units = training.dropout(nn.Dropout, p_units, rngs)
        self.drop_maps = training.dropout(nn.Dropout1d, p_maps, rngs)
        self.drop_last = training.dropout(nn.Dropout, p_last, rngs)

    def forward(self, words: Any) -> Any:
        """Map the numbers of words, (n, length), to logits, (n, classes)."""
        vectors = np.swapaxes(self.drop_vectors(self.embedding(words)), 1, 2)
        maps = np.concatenate([relu(convolve(vectors)) for convolve in self.convolutions], axis=1)
        maps = self.drop_maps(self.drop_units(maps))
        return self.output(self.drop_last(np.max(maps, axis=2)))


def runs(data: training.Data, options: argparse.Namespace) -> list[Run]:
    """List the nets to train; that with whole maps once, as it is another one in disguise."""
    return [
        {
            "experiment": "textcnn",
            "seed": seed,
            "train_size": data.train_size,
            "steps": options.steps,
            "features": options.features,
            "maps": options.maps,
            "dropout": dropout,
        }
        for seed in range(options.seeds)
        for dropout in NETS
        if dropout != "whole maps" or seed == 0
    ]


def digest(net: nn.Module) -> str:
    """Return a short text that tells these weights from all others."""
    together = b"".join(parameter.data.tobytes() for parameter in net.parameters())
    return hashlib.sha256(together).hexdigest()[:16]


def measure(data: training.Data, run: Run) -> Outcome:
    """Train a net and test it."""
    rngs = training.Generators.of(run["seed"])
    (x, y), (x_test, y_test) = data.split(run["train_size"], rngs.split)
    net = TextCNN(int(data.inputs.max()) + 1, data.classes, run, rngs)
    training.train(
        net,
        x,
        y,
        run["steps"],
        rngs,
        optimizer=Adam(net.parameters(), lr=LR),
        after_step=lambda step: project_max_norm([net.output.weight], MAX_NORM),
    )
    predicted = training.probabilities(net, x_test)
    return {
        "accuracy": 100 - training.error(predicted, y_test),
        "train accuracy": 100 - training.error(training.probabilities(net, x), y),
        "weights": digest(net),
        "parameters of the convolution": training.parameters(net, nn.Conv1d),
        "parameters of the last layer": training.parameters(net, nn.Linear),
    }


# ----------------------------------------------------------------------------------- conclusions


def accuracies(results: Results) -> dict[str, Any]:
    """Return the accuracies of the nets that each seed has, in percent."""
    return {
        dropout: results.over_seeds("accuracy", dropout=dropout)
        for dropout in NETS
        if dropout != "whole maps"
    }


def relative(accuracy: Any, reference: Any) -> Any:
    """Return by how many percent of the reference's mean the accuracy is better, for each seed."""
    return 100 * (accuracy - reference) / np.mean(reference)


def claims(results: Results) -> list[Claim]:
    """Compare with what the papers found."""
    found = accuracies(results)
    none, last = found["none"], found["before the last layer"]
    units, both = found["units of the maps"], found["both of these"]
    gain = relative(last, none)
    return [
        Claim("dropout before the last layer is better than none", {"accuracy gained, in %": gain}),
        Claim(
            "it adds 2 to 4 % relative performance",
            {"gain - 2 %": gain - 2, "4 % - gain": 4 - gain},
        ),
        Claim(
            "dropping units in the convolution is better than dropping none",
            {"accuracy gained, in %": relative(units, none)},
        ),
        Claim(
            "in the convolution it gains less than before the last layer",
            {"accuracy, last layer - convolution": last - units},
        ),
        Claim(
            "with it before the last layer, that of units changes the accuracy by less than 1 %",
            within(relative(both, last), 1, "change", "1 %"),
        ),
        Claim(
            "with it before the last layer, that of word vectors, the earliest, helps, too",
            {
                "accuracy gained, in %": relative(
                    found["word vectors, and before the last layer"], last
                )
            },
        ),
    ]


def show(results: Results) -> str:
    """Return the table, and what whole maps are."""
    found = accuracies(results)
    rows = []
    for dropout, accuracy in found.items():
        train = results.over_seeds("train accuracy", dropout=dropout)
        gain = "" if dropout == "none" else mean_and_error(relative(accuracy, found["none"]))
        rows.append([dropout, mean_and_error(train), mean_and_error(accuracy), gain])
    header = f"dropout, p = {P:g}", "accuracy in training", "in the test", "gain, relative"
    digests = {run["dropout"]: outcome["weights"] for run, outcome in results if run["seed"] == 0}
    same = digests["whole maps"] == digests["before the last layer"]
    (_, outcome), *_ = results
    return f"""{table(header, rows)}

Dropping whole maps in the convolution is dropout before the last layer: the maximum over a map of
zeros is zero. With seed 0, the weights of both nets after training are {
        "the same to the last bit" if same else "not the same"
    }.
The convolution has {outcome["parameters of the convolution"]} parameters, the last layer {
        outcome["parameters of the last layer"]
    }."""


def draw(figure: Any, results: Results) -> None:
    """Draw the accuracy of each net, and of each seed."""
    axes = figure.subplots()
    net_rows(axes, accuracies(results), ORANGE)
    axes.set(xlabel="test accuracy in %", title="Test accuracy of a TextCNN by where dropout is")


# ------------------------------------------------------------------------------------------- run

SHORT = {"seeds": 6, "steps": 200}
LONG = {"seeds": 12, "steps": 1000}


def main(argv: Sequence[str] | None = None) -> None:
    """Train the nets and compare them; exit with a message if an option is impossible."""
    parser = argparse.ArgumentParser(
        prog="textcnn", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option(
        "--data",
        default="topics",
        help=f"topics, or a folder with {' and '.join(FILES)}: on each line a class, an integer, "
        "and a question's words (default: %(default)s)",
    )
    option(
        "--long",
        action="store_true",
        help=f"train {LONG['seeds']} nets for each setting, on {LONG['steps']} mini-batches",
    )
    option("--seeds", type=int, help=f"nets for each setting (default: {SHORT['seeds']})")
    option("--steps", type=int, help=f"mini-batches to train a net on (default: {SHORT['steps']})")
    option(
        "--features",
        type=int,
        default=FEATURES,
        help="length of a word's vector; the paper has 300 (default: %(default)s)",
    )
    option(
        "--maps",
        type=int,
        default=MAPS,
        help="maps of each width; the paper has 100 (default: %(default)s)",
    )
    option(
        "--folder",
        type=Path,
        default="textcnn_results",
        help="where finished runs and the picture are kept (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    sizes = LONG if options.long else SHORT
    options.seeds = sizes["seeds"] if options.seeds is None else options.seeds
    options.steps = sizes["steps"] if options.steps is None else options.steps
    if not 2 <= options.seeds <= 20:
        parser.error(f"--seeds is 2 to 20, got {options.seeds}")
    for name in "steps", "features", "maps":
        if getattr(options, name) < 1:
            parser.error(f"--{name} is at least 1, got {getattr(options, name)}")
    try:
        data = load(options.data)
    except (OSError, ValueError) as error:
        parser.error(f"--data: {error}")
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--folder: {error}")
    store = Store(options.folder / "runs.jsonl")
    print(
        f"Data: {data}\n"
        f"{options.seeds} seeds, {options.steps} steps of {training.BATCH_SIZE} sentences"
    )
    experiment = sys.modules[__name__]
    try:
        results = finish(experiment, runs(data, options), data, store)
    except KeyboardInterrupt:
        sys.exit(f"\nInterrupted; the same command resumes from {store.path}.")
    report(experiment, results)
    draw_picture(options.folder / "textcnn.png", experiment, results)


if __name__ == "__main__":
    main()

"""Tests of examples/textcnn.py: its texts, its net, its conclusions, and the command."""

import doctest
import sys

import numpy as np
import pytest
from paper import example
from scripts import MATPLOTLIB, run_in_a_pipe

from microgrand import nn
from microgrand.nn.functional import softmax

textcnn = example.textcnn
QUESTIONS = ["what is a cat ?", "who was she ?", "how many are there ?"]


@pytest.fixture
def folder(tmp_path):
    """Return a folder with questions of three classes: 30 to train on, 6 to test on."""
    folder = tmp_path / "questions"
    folder.mkdir()
    for name, n in zip(textcnn.FILES, (30, 6), strict=True):
        lines = [f"{i % 3} {QUESTIONS[i % 3]} caf\xe9 {name[5:7]}{i}\n" for i in range(n)]
        (folder / name).write_text("".join(lines), encoding="latin-1")
    return folder


@pytest.fixture
def run(capsys, tmp_path):
    """Run the example with few steps, and return what it printed."""

    def run(*options):
        few = ["--seeds", "2", "--steps", "1", "--folder", str(tmp_path / "results")]
        textcnn.main([*few, *options])
        return capsys.readouterr().out

    return run


# --------------------------------------------------------------------------------------- the text


def test_questions_of_a_folder(folder):
    data = textcnn.load(str(folder))
    assert (data.most, data.test_size, data.train_size, data.has_test_set) == (30, 6, 30, True)
    np.testing.assert_array_equal(data.labels, [0, 1, 2] * 12)
    assert data.inputs.shape == (36, textcnn.LENGTH)
    # One number for each word; the seventh is that of the line itself.
    first, again = data.inputs[0], data.inputs[3]
    np.testing.assert_array_equal(first[:7], [1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(again[:6], first[:6])
    assert again[6] not in first
    assert not data.inputs[:, 7:].any()
    assert data.inputs.max() == len(set(" ".join(QUESTIONS).split())) + 1 + 36


def test_long_texts_are_cut_off():
    rows = textcnn.numbered([["a", "b"], ["b"] * textcnn.LENGTH + ["c"], ["d"]])
    assert rows[0].tolist() == [1, 2] + [0] * (textcnn.LENGTH - 2)
    assert (rows[1] == 2).all()
    assert rows[2, 0] == 3  # what is cut off gets no number


def test_topics():
    data = textcnn.load("topics")
    assert data.classes == textcnn.TOPICS
    assert np.bincount(data.labels).min() >= 20
    assert not data.has_test_set
    assert (data.inputs > 0).sum(axis=1).min() >= 5
    assert len(data.labels) > 500


def test_sentences_of_several_topics_are_left_out(monkeypatch):
    topics = {
        "one": "Both have this one here. Only the first has this. Only the first has this.",
        "two": "Both have this one here. This is said by two.",
    }
    monkeypatch.setattr("pydoc_data.topics.topics", topics)
    data = textcnn.load("topics")
    assert data.labels.tolist() == [0, 1]
    assert data.name.endswith("help on one, two")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0 is it ?\nwhat is it ?\n", r"line 2 of .* is 'what is it \?', expected a class"),
        ("0 is it ?\n-1 what ?\n", "line 2 of .* expected a class, an integer from 0"),
        ("0\n", "line 1 of .* and words after it"),
        ("\n", "has no line"),
        ("3 is it new ?\n", "has a question of class 3, expected at most 2, as in TREC.train.all"),
    ],
)
def test_damaged_files_are_refused(folder, content, message):
    (folder / textcnn.FILES[1]).write_text(content)
    with pytest.raises(ValueError, match=message):
        textcnn.load(str(folder))


def test_doctests():
    assert doctest.testmod(textcnn).failed == 0


# ---------------------------------------------------------------------------------------- the net


SIZES = {"features": 12, "maps": 5}


def outcome_and_net(monkeypatch, folder, dropout, steps=3):
    """Measure once; return the outcome, the net, and what it is tested on."""
    nets, train = [], example.training.train

    def watched(net, *arguments, **options):
        nets.append(net)
        train(net, *arguments, **options)

    monkeypatch.setattr(example.training, "train", watched)
    data = textcnn.load(str(folder))
    settings = {"seed": 0, "train_size": 30, "steps": steps, "dropout": dropout, **SIZES}
    outcome = textcnn.measure(data, settings)
    (net,) = nets
    return outcome, net, data.inputs[30:], data.labels[30:]


def test_outcome_is_the_accuracy_on_the_test_questions(monkeypatch, folder):
    outcome, net, x, y = outcome_and_net(monkeypatch, folder, "both of these")
    right = softmax(net(x)).data.argmax(axis=1) == y
    assert outcome["accuracy"] == pytest.approx(100 * right.mean())
    assert not net.training
    assert outcome["parameters of the convolution"] == sum(
        5 * (12 * width + 1) for width in textcnn.WIDTHS
    )
    assert outcome["parameters of the last layer"] == 3 * (3 * 5 + 1)


@pytest.mark.parametrize("dropout", textcnn.NETS)
def test_dropout_is_where_its_name_says(dropout):
    net = textcnn.TextCNN(9, 3, {"dropout": dropout, **SIZES}, example.training.Generators.of(0))
    places = {
        "before the last layer": ["drop_last"],
        "units of the maps": ["drop_units"],
        "both of these": ["drop_last", "drop_units"],
        "word vectors, and before the last layer": ["drop_last", "drop_vectors"],
        "whole maps": ["drop_maps"],
    }
    found = {n: m for n, m in net.named_modules() if isinstance(m, (nn.Dropout, nn.Dropout1d))}
    assert sorted(found) == places.get(dropout, [])
    assert {module.p for module in found.values()} <= {textcnn.P}
    net(np.ones((2, textcnn.LENGTH), np.int64))
    shapes = {
        "drop_last": (2, 15),
        "drop_units": (2, 15, textcnn.LENGTH),
        "drop_maps": (2, 15, 1),
        "drop_vectors": (2, textcnn.LENGTH, 12),
    }
    assert {n: m.mask.shape for n, m in found.items()} == {n: shapes[n] for n in found}


def test_dropping_whole_maps_is_dropout_before_the_last_layer(monkeypatch, folder):
    nets = []
    for dropout in ("whole maps", "before the last layer", "none"):
        with monkeypatch.context() as patch:
            outcome, net, *_ = outcome_and_net(patch, folder, dropout)
        nets.append((outcome["weights"], net.state_dict()))
    (maps, maps_weights), (last, last_weights), (none, _) = nets
    for name, values in maps_weights.items():
        np.testing.assert_array_equal(values, last_weights[name])
    assert maps == last != none


def test_the_last_layer_has_a_largest_norm_and_padding_none(monkeypatch, folder):
    monkeypatch.setattr(textcnn, "MAX_NORM", 0.1)
    _, net, *_ = outcome_and_net(monkeypatch, folder, "none")
    norms = np.linalg.norm(net.output.weight.data, axis=1)
    assert norms.max() == pytest.approx(0.1, rel=1e-5)
    assert not net.embedding.weight.data[0].any()
    assert net.embedding.weight.data[1:].any(axis=1).all()


# ------------------------------------------------------------------------------------ conclusions


def made_up(accuracy, maps="a"):
    """Make results with these accuracies, for 8 seeds, and noise that no verdict depends on."""
    rng = np.random.default_rng(0)
    results = example.runs.Results()
    for seed in range(8):
        for dropout in textcnn.NETS:
            if dropout != "whole maps" or seed == 0:
                outcome = {
                    "accuracy": accuracy.get(dropout, 0) * rng.uniform(0.9999, 1.0001),
                    "train accuracy": 99.0,
                    "weights": maps if dropout == "whole maps" else "a",
                    "parameters of the convolution": 4000,
                    "parameters of the last layer": 60,
                }
                results.append(({"seed": seed, "dropout": dropout}, outcome))
    return results


@pytest.mark.parametrize(("effect", "verdict"), [(1, "agrees"), (-1, "disagrees")])
def test_claims_are_judged_by_the_numbers(effect, verdict):
    last = 80 + effect * 2.4
    results = made_up(
        {
            "none": 80,
            "before the last layer": last,
            "units of the maps": 80 + effect * 0.5,
            "both of these": last + (0.1 if effect > 0 else -4),
            "word vectors, and before the last layer": last + effect,
        }
    )
    claims = textcnn.claims(results)
    assert [str(claim) for claim in claims if claim.verdict != verdict] == []


def test_table_has_the_gains_relative_to_none():
    accuracy = dict.fromkeys(textcnn.NETS, 80) | {"before the last layer": 82}
    shown = textcnn.show(made_up(accuracy))
    (row,) = [line for line in shown.splitlines() if line.lstrip().startswith("before the last")]
    assert row.split()[-3].startswith("2.50")
    assert "the same to the last bit" in shown
    assert "4000 parameters, the last layer 60." in shown
    assert "not the same" in textcnn.show(made_up(accuracy, maps="b"))


# ---------------------------------------------------------------------------------------- command


def test_command_keeps_its_runs_and_draws(run, folder, tmp_path, monkeypatch):
    first = run("--data", str(folder))
    assert "30 examples to train on, 6 to test on, the data's own test set" in first
    assert "2 seeds, 1 steps of 50 sentences" in first
    assert "What the paper found\nKim" in first
    assert "With 2 seeds no claim can be decided" in first
    assert (tmp_path / "results" / "textcnn.png").exists() == MATPLOTLIB
    for name in ("matplotlib", "matplotlib.figure", "tqdm"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    again = run("--data", str(folder))
    assert "11 of 11 runs are done already" in again
    assert "No picture was drawn; install matplotlib" in again
    tables = [text[text.index("dropout, p") : text.index("(Mean over")] for text in (first, again)]
    assert tables[0] == tables[1]


def test_long_runs_have_more_seeds_and_steps(monkeypatch, folder, tmp_path, capsys):
    todo = []

    def stop(experiment, runs, data, store):
        todo.extend(runs)
        raise KeyboardInterrupt

    monkeypatch.setattr(textcnn, "finish", stop)
    for options, sizes in (((), textcnn.SHORT), (("--long",), textcnn.LONG)):
        todo.clear()
        with pytest.raises(SystemExit, match="Interrupted; the same command resumes from"):
            textcnn.main([*options, "--data", str(folder), "--folder", str(tmp_path)])
        assert {each["steps"] for each in todo} == {sizes["steps"]}
        assert {each["seed"] for each in todo} == set(range(sizes["seeds"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "1"], "--seeds is 2 to 20, got 1"),
        (["--seeds", "21"], "--seeds is 2 to 20, got 21"),
        (["--steps", "0"], "--steps is at least 1, got 0"),
        (["--features", "0"], "--features is at least 1, got 0"),
        (["--maps", "-1"], "--maps is at least 1, got -1"),
        (["--data", "no-such-folder"], "--data: expected topics or a folder, got no-such-folder"),
        (["--data", "."], "TREC.train.all"),
        (["--folder", __file__], "--folder: "),
    ],
)
def test_impossible_options_end_with_a_message(capsys, monkeypatch, tmp_path, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        textcnn.main(options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_outcomes_are_decided_above_the_claims():
    above, mark, _ = example.runs.inspect.getsource(textcnn).partition("\ndef claims(")
    assert mark
    assert "\ndef measure(" in above


def test_script_in_a_pipe(folder, tmp_path):
    options = ("--data", folder, "--seeds", "2", "--steps", "1")
    printed = run_in_a_pipe("textcnn.py", *map(str, options), folder=tmp_path)
    assert "Whether the numbers agree" in printed
    assert (tmp_path / "textcnn_results" / "runs.jsonl").exists()

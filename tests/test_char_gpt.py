"""Tests of the nets that write text: a pair is fair, a resumed run is the same, options, claims."""

import argparse
import importlib
import re
import sys

import numpy as np
import pytest
from scripts import MATPLOTLIB, importing_examples, run_in_a_pipe

from microgrand import checkpoint

SHORT = (
    "--steps", "10", "--seeds", "2", "--width", "8", "--layers", "1", "--context", "4",
    "--train-size", "200",
)  # fmt: skip
OPTIONS = argparse.Namespace(train_size=200, context=4, layers=2, width=8, lr=0.01, steps=10)


@pytest.fixture(scope="module")
def example():
    with importing_examples():
        yield importlib.import_module("char_gpt")


@pytest.fixture
def run(example, capsys, tmp_path, monkeypatch):
    """Run the example eagerly, which spares tiny nets their compilation; return its output."""
    monkeypatch.setattr(example, "compile", lambda step: step)
    monkeypatch.setattr(example, "TIMED", 1)

    def run(*options):
        example.main([*SHORT, "--picture", str(tmp_path / "picture.png"), *options])
        return capsys.readouterr().out

    return run


def results_in(output):
    """Leave out how long a step took, and where the run went on."""
    return re.sub(r"A step of .*\n|Going on .*\n\n|The picture .*\n", "", output)


# ------------------------------------------------------------------------------ what it prints


def test_short_run_in_a_pipe(tmp_path):
    output = run_in_a_pipe("char_gpt.py", *SHORT, "--model", "gpt", folder=tmp_path)
    assert "200 characters to train on, " in output
    assert output.count("with the same losses to the last bit") == 1
    assert "What the gpt with p = 0.2 writes:" in output
    assert (tmp_path / "char_gpt.png").exists() == MATPLOTLIB


def test_both_models_are_compared(run):
    output = run()
    rows = re.findall(r"^ *(gpt|lstm) +(0|0\.2) .* ± .* ± .* ± .* ± ", output, re.MULTILINE)
    assert rows == [("gpt", "0"), ("gpt", "0.2"), ("lstm", "0"), ("lstm", "0.2")]
    assert "the gpt gains more than the lstm" in output
    assert "With 2 seeds nothing can be decided" in output


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_a_compiled_step_has_the_bits_of_an_eager_one(example, model):
    compiled = example.Training((model, 0, 0.5), OPTIONS)
    losses = compiled.train(5)
    assert len(compiled.step.traces) == 1  # one program, which goes on as the rate changes
    assert compiled.step.eager_calls == 0
    eager = example.Training((model, 0, 0.5), OPTIONS)  # seeds the masks' generator again
    assert eager.train(5, eager.eager_step) == losses
    for name, values in compiled.net.state_dict().items():
        np.testing.assert_array_equal(values, eager.net.state_dict()[name])


def test_a_compiled_step_of_other_losses_is_an_error(example, monkeypatch):
    monkeypatch.setattr(example, "compile", lambda step: lambda *batch: step(*batch) + 1)
    with pytest.raises(RuntimeError, match="the compiled step's losses are"):
        example.compare_speed(("lstm", 0, 0.5), OPTIONS)


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.25, "AGREES"), (-0.25, "DISAGREES"), (0.0, "UNDECIDED")]
)
def test_verdicts_are_what_the_numbers_show(example, capsys, gain, verdict):
    curves = np.full((2, 6, 2, example.PARTS, 2), 2.0)
    curves[0, :, 1, -3:, 1] -= gain  # the first model's, with dropout
    options = argparse.Namespace(model=["gpt", "lstm"], p=0.2, steps=100)
    example.report(curves, options)
    output = capsys.readouterr().out
    assert f"{verdict}: the gpt gains from dropout, at the end" in output
    stopped = "UNDECIDED" if gain < 0 else verdict  # stopped before it did harm
    assert f"{stopped}: the gpt gains, both stopped in time" in output
    assert f"{stopped}: the gpt gains more than the lstm" in output
    assert "UNDECIDED: the lstm gains from dropout" in output
    assert "nothing can be decided" not in output


# ------------------------------------------------------------------------------ a fair comparison


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_both_nets_of_a_seed_get_the_same_weights_and_windows(example, model):
    (plain, dropout), losses = [example.Training((model, 3, p), OPTIONS) for p in (0.0, 0.5)], []
    for name, values in plain.net.state_dict().items():
        np.testing.assert_array_equal(values, dropout.net.state_dict()[name])
    np.testing.assert_array_equal(plain.text.train, dropout.text.train)
    for training in (plain, dropout):
        losses.append(training.train(4, training.eager_step))
    assert plain.order.bit_generator.state == dropout.order.bit_generator.state
    assert losses[0] != losses[1]
    assert not np.array_equal(example.Text(200, 4).train, plain.text.train)


def test_nothing_is_validated_that_was_trained_on(example):
    pieces = example.paragraphs()
    assert len(pieces) == len(set(pieces)) > 500
    text = example.Text(example.most_characters(), 0)
    assert len(text.validation) >= len(text.train) > 100_000
    for part in (text.train, text.validation):
        assert 0 <= part.min() <= part.max() < len(text.characters)
        assert part.max() > 90
    assert text.read(text.train).partition("\n\n")[0] in pieces


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_a_character_is_told_from_those_before_it(example, model):
    net = example.Training((model, 0, 0.5), OPTIONS).net.eval()
    x = np.array([[1, 2, 3, 4]])
    changed = np.array([[1, 2, 9, 4]])
    before, after = (net(given).detach().numpy()[0] for given in (x, changed))
    np.testing.assert_array_equal(before[:2], after[:2])
    assert (before[2:] != after[2:]).any(axis=1).all()


def test_norms_and_biases_are_not_decayed(example):
    training = example.Training(("gpt", 0, 0.5), OPTIONS)
    decayed, rest = training.optimizer.param_groups
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert all(x.ndim > 1 for x in decayed["params"])
    assert all(x.ndim == 1 for x in rest["params"])
    # The embedding is the output's weight, too, and is there once.
    assert len({id(x) for x in training.optimizer.parameters}) == len(training.optimizer.parameters)


def test_the_learning_rate_rises_and_falls(example):
    training = example.Training(("gpt", 0, 0.5), OPTIONS)
    rates = []
    for _ in range(10):
        rates.append(training.optimizer.lr)
        training.scheduler.step()
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == rates[1] == pytest.approx(0.01)
    assert rates[-1] < 0.002


# --------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize(("model", "killed_after"), [("gpt", 3), ("lstm", 10), ("lstm", 24)])
def test_a_resumed_run_is_the_uninterrupted_one(
    example, run, tmp_path, monkeypatch, model, killed_after
):
    expected = run("--model", model, "--checkpoint", str(tmp_path / "whole.npz"))
    path = tmp_path / "killed.npz"
    saves = []

    def save(*args, **kwargs):
        checkpoint.save(*args, **kwargs)
        saves.append(None)
        if len(saves) == killed_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(example, "checkpoint", argparse.Namespace(save=save, load=checkpoint.load))
        with pytest.raises(SystemExit, match="the same command resumes from"):
            run("--model", model, "--checkpoint", str(path))
    resumed = run("--model", model, "--checkpoint", str(path))
    number = killed_after // example.PARTS + 1
    assert f"Going on from {path}, with net {number}\n" in resumed
    assert results_in(resumed).endswith(results_in(expected).partition("\n\n")[2])
    whole, again = (checkpoint.load(tmp_path / name) for name in ("whole.npz", "killed.npz"))
    assert whole["extra"]["done"] == again["extra"]["done"]
    for name, values in whole["model"].items():
        np.testing.assert_array_equal(values, again["model"][name])


def test_seeds_may_be_added_later(run, tmp_path):
    options = ("--model", "lstm", "--checkpoint", str(tmp_path / "run.npz"))
    first = run(*options)
    expected = run("--model", "lstm", "--seeds", "3")
    assert results_in(run(*options, "--seeds", "3")) == results_in(expected)
    assert results_in(run(*options, "--seeds", "2")) == results_in(first)


def test_a_finished_run_is_not_run_again(example, run, tmp_path, monkeypatch):
    options = ("--model", "lstm", "--checkpoint", str(tmp_path / "run.npz"))
    expected = results_in(run(*options))
    monkeypatch.setattr(example.Training, "train_part", None)
    assert results_in(run(*options)) == expected


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"no checkpoint"), "was refused, nothing was changed"),
        (lambda path: checkpoint.save(path, extra={"a": 1}), "it is not one of this program's"),
        (
            lambda path: checkpoint.save(path, extra={"done": [], "options": {"model": ["gpt"]}}),
            "it is of a run with model ['gpt'], and now it is ['lstm']",
        ),
    ],
)
def test_a_checkpoint_of_something_else(run, capsys, tmp_path, write, message):
    path = tmp_path / "run.npz"
    write(path)
    with pytest.raises(SystemExit) as caught:
        run("--model", "lstm", "--checkpoint", str(path))
    assert caught.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


# ---------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "rnn"], "invalid choice: 'rnn'"),
        (["--p", "0"], "--p is a probability above 0, to 1, got 0.0"),
        (["--p", "nan"], "--p is a probability above 0, to 1, got nan"),
        (["--steps", "9"], "--steps is at least 10, got 9"),
        (["--seeds", "1"], "--seeds is 2 to 20, for a spread, got 1"),
        (["--train-size", "33"], "--train-size is 34 to "),
        (["--train-size", "10000000"], "with this --context, got 10000000"),
        (["--lr", "0"], "--lr is positive and finite, got 0.0"),
        (["--layers", "0"], "--layers is at least 1, got 0"),
        (["--width", "6"], "--width is a multiple of 4, the number of heads, got 6"),
        (["--context", "0"], "--context is at least 1, got 0"),
        (["--picture", "no-such-folder/a.png"], "there is no folder no-such-folder"),
        (["--picture", "a.txt"], "--picture ends in .png, .pdf, .svg, got a.txt"),
        (["--checkpoint", "a.pt"], "--checkpoint ends in .npz or .safetensors, got a.pt"),
        (["--checkpoint", "no-such-folder/a.npz"], "--checkpoint: there is no folder"),
    ],
)
def test_impossible_options_end_with_a_message(example, capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        example.main(options)
    assert caught.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_divergence_is_an_error(example, run, monkeypatch):
    monkeypatch.setattr(example.Training, "loss", lambda self, text: np.nan)
    with pytest.raises(SystemExit, match=r"Training diverged.*--lr below 0\.01"):
        run("--model", "lstm")


def test_runs_without_the_extras(run, monkeypatch, tmp_path):
    for name in ("matplotlib", "matplotlib.figure", "tqdm"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    assert "No picture was drawn; install matplotlib" in run("--model", "lstm")
    assert not (tmp_path / "picture.png").exists()

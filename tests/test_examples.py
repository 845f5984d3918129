"""Tests of the examples: what they print, their options, and that they run without the extras."""

import importlib
import re
import sys

import numpy as np
import pytest
from scripts import MATPLOTLIB, importing_examples, run_in_a_pipe, write_idx, write_labelled

SHORT = ("--epochs", "2", "--seeds", "2", "--widths", "8", "6", "--train-size", "50")


@pytest.fixture(scope="module")
def example():
    with importing_examples():
        yield importlib.import_module("mlp_dropout")


@pytest.fixture
def without_extras(monkeypatch):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.colors", "tqdm"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails


@pytest.fixture
def run(example, capsys, tmp_path):
    """Run the example, and return what it printed."""

    def run(*options):
        example.main([*SHORT, "--picture", str(tmp_path / "picture.png"), *options])
        return capsys.readouterr().out

    return run


def made_up_history(example, gains, excess=(-0.1, -0.1)):
    """Make curves in which dropout changes the last losses by -gains and the accuracies by gains.

    `excess` is how far the training-mode loss is above the test loss, for each epoch.
    """
    history = np.zeros((len(gains), 2, len(excess), len(example.MEASURES)))
    train_loss, test_loss, gap, accuracy, training_mode_loss = np.moveaxis(history, -1, 0)
    train_loss[:] = 0.25
    test_loss[:] = 0.5
    accuracy[:] = 90
    test_loss[:, 1, -1] -= gains
    accuracy[:, 1, -1] += gains
    gap[:] = test_loss - train_loss
    training_mode_loss[:] = test_loss + excess
    return history


# ------------------------------------------------------------------------------ what it prints


def rows_of(example, output):
    """Read the table: for each measure (without, with, difference) as means, and the wins."""
    rows = {}
    for line in output.splitlines():
        name = next((name for name in example.MEASURES if line.startswith(f"{name}  ")), None)
        if name:
            assert len(re.findall(r" ± \d", line)) == 3
            rows[name] = (
                [float(mean) for mean in re.findall(r"(-?\d+\.\d+) ±", line)],
                int(re.search(r"(\d+) of \d+$", line)[1]),
            )
    return rows


def test_table_is_complete_and_consistent(example, run):
    output = run("--p", "0.75", "--widths", "32", "16")
    assert "50 images to train on, 1747 to test on" in output
    assert "MLP 64-32-16-10, Adam, learning rate 0.001, batches of 20" in output
    assert "After 2 epochs, mean ± standard deviation over 2 seeds" in output
    assert re.search(r"without dropout +dropout, p = 0\.75 +difference +dropout wins\n", output)
    rows = rows_of(example, output)
    assert list(rows) == list(example.MEASURES)
    for (without, with_dropout, difference), _ in rows.values():
        assert difference == pytest.approx(with_dropout - without, abs=0.002)
    means = {name: np.array(means) for name, (means, _) in rows.items()}
    np.testing.assert_allclose(means["gap"], means["test loss"] - means["train loss"], atol=0.002)
    # Without dropout both modes are the same; with it they are not.
    without, with_dropout, _ = means["training-mode loss"] - means["train loss"]
    assert without == 0
    assert with_dropout != 0
    for name in ("test loss", "test accuracy"):
        assert re.search(rf"the {name} is [^:]*:\n  {rows[name][1]} wins and", output)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([0.1] * 10, "better"),
        ([0.1] * 9 + [-0.3], "better"),  # as uneven by chance: 22 of 1024
        ([0.1] * 8 + [-0.1] * 2, "not clearly different"),  # 112 of 1024
        ([0.1] * 5, "not clearly different"),  # 2 of 32
        ([0.1] * 6 + [0.0] * 4, "better"),  # 2 of 64
        ([0.0] * 10, "not clearly different"),
        ([-0.1] * 6, "worse"),
    ],
)
def test_conclusion_is_what_the_numbers_show(example, capsys, gains, verdict):
    example.report(made_up_history(example, np.array(gains)), p=0.5)
    output = capsys.readouterr().out
    assert f"with dropout, the test loss is {verdict}:" in output
    assert f"with dropout, the test accuracy is {verdict}:" in output
    wins = sum(gain > 0 for gain in gains)
    rows = rows_of(example, output)
    assert rows["test loss"][1] == rows["gap"][1] == rows["test accuracy"][1] == wins


def test_spread_is_the_sample_standard_deviation(example, capsys):
    example.report(made_up_history(example, np.array([0.125, 0.375])), p=0.5)
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if line.startswith("test loss  ")]
    assert re.findall(r"-?\d+\.\d+ ± \d+\.\d+", row) == [
        "0.500 ± 0.000",
        "0.250 ± 0.177",
        "-0.250 ± 0.177",
    ]


def test_chance_of_the_sign_test(example):
    assert "10 wins and 0 losses" in example.judge(np.ones(10))
    assert "in 0.2% of cases" in example.judge(np.ones(10))
    assert "in 2.1% of cases" in example.judge(np.array([1] * 9 + [-1]))
    assert "in 100.0% of cases" in example.judge(np.array([1, -1]))


def test_puzzle_is_told_with_the_epochs_that_show_it(example, capsys):
    excess = np.array([-0.1, 0.25, 0.125, -0.1])
    example.report(made_up_history(example, np.zeros(2), excess), p=0.5)
    output = " ".join(capsys.readouterr().out.split())
    assert "was higher than the test loss after 2 of the 4 epochs. After epoch 2" in output
    assert "0.750 on the training images in training mode" in output
    assert "0.500 on the test images" in output
    assert "0.250 on the training images in evaluation mode" in output
    assert "never above" not in output


def test_puzzle_is_not_claimed_where_it_does_not_show(example, capsys):
    example.report(made_up_history(example, np.zeros(2)), p=0.5)
    output = capsys.readouterr().out
    assert "never above its test loss" in output
    assert "puzzle" not in output


# --------------------------------------------------------------------------- a paired comparison


def test_both_nets_of_a_seed_get_the_same_weights_images_and_batches(example):
    images = np.random.default_rng(0).random((60, 5), dtype=np.float32)
    data = images, np.arange(60) % 3
    options = example.argparse.Namespace(train_size=45, widths=[8])
    pair = [example.set_up(7, p, data, None, options) for p in (0.0, 0.3)]
    (plain, *_), (dropout, *_) = pair
    for name, values in plain.state_dict().items():
        np.testing.assert_array_equal(values, dropout.state_dict()[name])
    for plain_set, dropout_set in zip(pair[0][1:3], pair[1][1:3], strict=True):
        np.testing.assert_array_equal(plain_set[0], dropout_set[0])
        np.testing.assert_array_equal(plain_set[1], dropout_set[1])
    for net, train_set, test_set, order_rng in pair:
        history = example.train(net, train_set, test_set, order_rng, epochs=2, lr=0.01)
        # What the table compares is measured with the whole net.
        train_loss, _ = example.evaluate(net.eval(), *train_set)
        test_loss, accuracy = example.evaluate(net.eval(), *test_set)
        assert history[-1][:4] == (train_loss, test_loss, test_loss - train_loss, accuracy)
    # Drawing masks has not moved on what draws the batches.
    assert pair[0][3].bit_generator.state == pair[1][3].bit_generator.state
    assert plain[2].mask.all()
    assert not dropout[2].mask.all()
    # Another seed is another experiment.
    other, (other_images, _), *_ = example.set_up(8, 0.0, data, None, options)
    assert not np.array_equal(other_images, pair[0][1][0])
    assert not np.array_equal(other[0].weight.data, plain[0].weight.data)


def test_nothing_is_learned_from_the_test_set(example):
    data = np.random.default_rng(0).random((60, 5), dtype=np.float32), np.arange(60) % 3
    options = example.argparse.Namespace(train_size=45, widths=[8])
    weights = []
    for test_set in (None, (data[0][:20] - 1, data[1][:20])):
        net, *sets_and_rng = example.set_up(0, 0.5, data, test_set, options)
        example.train(net, *sets_and_rng, epochs=1, lr=0.01)
        weights.append(net[0].weight.data)
    np.testing.assert_array_equal(*weights)


def test_without_dropping_both_nets_do_the_same(example, run):
    rows = rows_of(example, run("--p", "0"))
    assert all(difference == 0 and wins == 0 for (_, _, difference), wins in rows.values())


# ----------------------------------------------------------------------------- options and data


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--p", "1.5"], "--p is a probability, from 0 to 1, got 1.5"),
        (["--p", "nan"], "--p is a probability, from 0 to 1, got nan"),
        (["--widths", "8", "0"], "--widths are at least 1, got [8, 0]"),
        (["--epochs", "0"], "--epochs is at least 1, got 0"),
        (["--seeds", "1"], "--seeds is at least 2, for a spread, got 1"),
        (["--lr", "0"], "--lr is positive and finite, got 0.0"),
        (["--lr", "inf"], "--lr is positive and finite, got inf"),
        (["--train-size", "0"], "--train-size is 1 to 1796, got 0"),
        (["--train-size", "1797"], "--train-size is 1 to 1796, got 1797"),
        (["--data", "no-such-folder"], "--data: expected digits, mnist1d or a folder"),
        (["--picture", "no-such-folder/a.png"], "there is no folder no-such-folder"),
    ],
)
def test_impossible_options_end_with_a_message(example, capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        example.main(options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_tells_the_defaults(example, capsys):
    with pytest.raises(SystemExit) as caught:
        example.main(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for default in ("0.5", "80", "0.001", "200", "10", "mlp_dropout.png"):
        assert f"(default: {default})" in text


def test_divergence_is_an_error(example, run, monkeypatch):
    losses = [(np.nan,) * len(example.MEASURES)] * 2
    monkeypatch.setattr(example, "train", lambda *args: losses)
    with pytest.raises(SystemExit, match=r"Training diverged.*--lr below 0\.001"):
        run()


def test_data_folder(run, tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("train", 70), ("t10k", 30)):
        write_labelled(tmp_path, name, rng.integers(0, 256, (n, 4, 3)), 5)
    output = run("--data", str(tmp_path))
    assert f"50 images to train on, 30 to test on, from MNIST's files in {tmp_path}" in output
    assert "MLP 12-8-6-5," in output


def test_t10k_files_alone_are_split(example, run, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (70, 4, 3))
    write_idx(tmp_path / "t10k-images.idx3-ubyte", images)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.arange(70) % 5)
    output = run("--data", str(tmp_path))
    assert "50 images to train on, 20 to test on, from the t10k files in" in output
    _, (inputs, labels), test_set = example.load(str(tmp_path))
    np.testing.assert_allclose(inputs, images.reshape(70, 12) / 255, rtol=1e-6)
    np.testing.assert_array_equal(labels, np.arange(70) % 5)
    assert (inputs.dtype, labels.dtype, test_set) == (np.float32, np.int64, None)


@pytest.mark.parametrize(("shape", "classes"), [((30, 4, 4), 5), ((30, 4, 3), 6)])
def test_test_set_of_another_size_or_class_is_an_error(example, tmp_path, shape, classes):
    for name, of, n in (("train", (70, 4, 3), 5), ("t10k", shape, classes)):
        write_labelled(tmp_path, name, np.zeros(of), n)
    with pytest.raises(ValueError, match="of another size or class"):
        example.load(str(tmp_path))


# --------------------------------------------------------------------------------------- extras


@pytest.mark.skipif(not MATPLOTLIB, reason="matplotlib is not installed")
def test_picture(run, tmp_path):
    assert f"The picture is in {tmp_path / 'picture.png'}." in run("--p", "0.25")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("without_extras")
def test_runs_without_the_extras(run, tmp_path):
    assert "No picture was drawn; install matplotlib" in run()
    assert not (tmp_path / "picture.png").exists()


def test_progress_bar_on_a_terminal(example, capsys, monkeypatch):
    pytest.importorskip("tqdm")
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert list(example.progress([1, 2], "nets trained")) == [1, 2]
    assert "nets trained" in capsys.readouterr().err


def test_script_in_a_pipe(tmp_path):
    assert "Conclusion:" in run_in_a_pipe("mlp_dropout.py", *SHORT, folder=tmp_path)
    assert (tmp_path / "mlp_dropout.png").exists() == MATPLOTLIB

"""Tests of examples/dropout_paper: its runs are kept, its data, and what the command does."""

import doctest
import json
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper import example
from scripts import MATPLOTLIB, ROOT, run_in_a_pipe, write_idx, write_labelled


@pytest.fixture
def run(capsys, tmp_path):
    """Run the example with few steps, and return what it printed."""

    def run(command, *options, seeds=2, steps=2):
        few = ["--seeds", str(seeds), "--steps", str(steps), "--folder", str(tmp_path)]
        example.main([command, *few, *options])
        return capsys.readouterr().out

    return run


@pytest.fixture
def calls(monkeypatch):
    """Replace the training of `size` by a made-up error, and return the list of runs done."""
    done = []

    def measure(data, run):
        done.append(run)
        return {"error": 10.0 + run["seed"] - run["dropout"]}

    monkeypatch.setattr(example.size, "measure", measure)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # pictures take time
    return done


# ----------------------------------------------------------------------------- runs that are kept


def lines(folder):
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]


def test_finished_runs_are_not_done_again(run, calls, tmp_path):
    first = run("size")
    assert "24 nets with 2 seeds, 2 steps of 50 examples, of 20, 50, 100, 200, 500, 1000\n" in first
    assert len(calls) == len(lines(tmp_path)) == 2 * 6 * 2
    assert "are done already" not in first
    again = run("size")
    assert len(calls) == 24
    assert "24 of 24 runs are done already" in again
    assert again.partition("examples  ")[2] == first.partition("examples  ")[2]
    # More seeds are added to those that are there.
    assert "24 of 36 runs are done already" in run("size", seeds=3)
    assert len(calls) == 36


def test_changed_options_data_and_code_do_not_reuse_results(run, calls, tmp_path, monkeypatch):
    run("size")
    run("size", steps=3)
    assert len(calls) == 48
    monkeypatch.setattr(example.training, "load", lambda source: other_data())
    run("size")
    assert len(calls) == 48 + 2 * 4 * 2
    (tmp_path / "module.py").write_text("a = 1")  # another library
    monkeypatch.setattr(example.runs.microgrand, "__file__", str(tmp_path / "__init__.py"))
    run("size")
    assert len(calls) == 48 + 2 * (2 * 4 * 2)
    for part in ("data", "code"):
        assert len({line["run"][part] for line in lines(tmp_path)}) >= 2


def other_data():
    images = np.random.default_rng(0).random((250, 16), dtype=np.float32)
    return example.training.Data("Noise", images, np.arange(250) % 10, 50, False, 100)


def test_code_digest_is_that_of_what_decides_an_outcome(monkeypatch):
    source = {example.size: "measure\n\ndef claims(a)", example.training: "train"}
    monkeypatch.setattr(example.runs.inspect, "getsource", source.__getitem__)
    digest = example.runs.code_digest(example.size)
    source[example.size] = "measure\n\ndef claims(b)"
    assert example.runs.code_digest(example.size) == digest
    source[example.size] = "measure!\n\ndef claims(b)"
    assert example.runs.code_digest(example.size) != digest
    source |= {example.size: "measure\n\ndef claims(a)", example.training: "train!"}
    assert example.runs.code_digest(example.size) != digest


@pytest.mark.parametrize("name", example.experiments)
def test_outcomes_are_decided_above_the_claims(name):
    source = example.runs.inspect.getsource(example.experiments[name])
    above, mark, below = source.partition("\ndef claims(")
    assert mark
    assert "\ndef measure(" in above
    assert "\ndef show(" in below
    assert "\ndef draw(" in below


def test_interrupted_run_resumes_where_it_stopped(run, calls, tmp_path, monkeypatch):
    whole = run("size")
    expected = lines(tmp_path)
    (tmp_path / "runs.jsonl").unlink()
    calls.clear()

    measure = example.size.measure

    def interrupted(data, run):
        if len(calls) == 7:
            raise KeyboardInterrupt
        return measure(data, run)

    with monkeypatch.context() as patch:
        patch.setattr(example.size, "measure", interrupted)
        with pytest.raises(SystemExit, match="Interrupted; the same command resumes from"):
            run("size")
    assert lines(tmp_path) == expected[:7]
    assert run("size").partition("examples  ")[2] == whole.partition("examples  ")[2]
    assert len(calls) == 24
    assert lines(tmp_path) == expected


def test_real_training_gives_the_same_after_an_interruption(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # pictures take time
    run("features")
    expected = lines(tmp_path)
    (tmp_path / "runs.jsonl").write_text(json.dumps(expected[1]) + "\n")
    run("features")
    assert sorted(map(json.dumps, lines(tmp_path))) == sorted(map(json.dumps, expected))


@given(cut=st.integers(0, 200))
def test_what_was_cut_off_counts_as_not_written(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("store") / "runs.jsonl"
    outcomes = {i: {"error": i / 7, "other": "é\n{}"} for i in range(4)}
    store = example.runs.Store(path)
    for i, outcome in outcomes.items():
        store.add({"seed": i}, outcome)
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - cut)])

    store = example.runs.Store(path)
    kept = [i for i in outcomes if store.get({"seed": i}) is not None]
    assert kept == list(range(len(kept)))
    assert len(kept) >= path.read_bytes().count(b"\n")
    for i, outcome in outcomes.items():
        if i not in kept:
            store.add({"seed": i}, outcome)
    for each in (store, example.runs.Store(path)):
        assert [each.get({"seed": i}) for i in outcomes] == list(outcomes.values())
    assert store.get({"seed": 4}) is None


def test_results_over_seeds():
    results = example.runs.Results(
        [({"p": p, "seed": s}, {"e": p + s}) for s in (1, 0) for p in (0.0, 0.5)]
    )
    np.testing.assert_array_equal(results.over_seeds("e", p=0.5), [0.5, 1.5])
    assert results.settings("p") == [0.0, 0.5]
    for where in ({}, {"p": 1}):
        with pytest.raises(ValueError, match="expected one for each seed"):
            results.over_seeds("e", **where)


# -------------------------------------------------------------------------------- pairs, and data


def small_images(folder, halves):
    """Write small random images, the given numbers for each half of the data; return the folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, n in halves.items():
        write_labelled(folder, name, rng.integers(0, 256, (n, 4, 4)))
    return str(folder)


def test_folder_with_the_t10k_files_only_is_split(run, tmp_path):
    folder = small_images(tmp_path / "mnist", {"t10k": 200})
    output = run("features", "--data", folder)
    assert "has no train files: 160 examples to train on, 40 to test on, split afresh" in output
    write_idx(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", np.arange(199) % 10)
    with pytest.raises(ValueError, match=r"holds 200 images, but .* holds 199 labels"):
        example.training.load(folder)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="train-images"):
        example.training.load(folder)


def test_folder_with_all_files_keeps_its_test_set(run, tmp_path):
    folder = small_images(tmp_path / "mnist", {"train": 120, "t10k": 30})
    output = run("features", "--data", folder, "--train-size", "60")
    assert "120 examples to train on, 30 to test on, the data's own test set" in output
    data = example.training.load(folder)
    for seed in (0, 1):
        (x, _), (x_test, y_test) = data.split(60, np.random.default_rng(seed))
        np.testing.assert_array_equal(x_test, data.inputs[120:])
        np.testing.assert_array_equal(y_test, np.arange(30) % 10)
        assert len(x) == 60
        assert (x[:, None] == data.inputs[:120]).all(axis=2).any(axis=1).all()


def test_mnist1d():
    pytest.importorskip("mnist1d")
    data = example.training.load("mnist1d")
    assert (data.inputs.shape, data.most, data.test_size) == ((5000, 40), 4000, 1000)


# ---------------------------------------------------------------------------------------- command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["rate", "--seeds", "1"], "--seeds is 2 to 20, got 1"),
        (["rate", "--seeds", "21"], "--seeds is 2 to 20, got 21"),
        (["rate", "--steps", "0"], "--steps is at least 1, got 0"),
        (["rate", "--train-size", "0"], "--train-size is 1 to 1000 for these data, got 0"),
        (["rate", "--train-size", "1001"], "--train-size is 1 to 1000 for these data, got 1001"),
        (["size", "--train-size", "60"], "size: the sizes [20, 50] are too few to compare"),
        (["all", "--train-size", "60"], "size: the sizes [20, 50] are too few to compare"),
        (["rate", "--data", "no-such-folder"], "--data: expected digits, mnist1d or a folder"),
        (["rate", "--folder", __file__], "--folder: "),
        (["rate", "--folder", f"{__file__}/below"], "--folder: "),
        (["other"], "invalid choice: 'other'"),
        ([], "EXPERIMENT"),
    ],
)
def test_impossible_options_end_with_a_message(capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        example.main(options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_mnist1d_is_an_optional_package(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)  # an import of it fails
    with pytest.raises(SystemExit):
        example.main(["rate", "--data", "mnist1d"])
    assert "pip install mnist1d" in capsys.readouterr().err


def test_all_experiments_run(run, tmp_path):
    folder = small_images(tmp_path / "mnist", {"t10k": 200})
    output = run("all", "--data", folder, steps=1)
    for name in example.experiments:
        assert f"=== {name}: " in output
        assert (tmp_path / f"{name}.png").exists() == MATPLOTLIB
    assert output.count("What the paper found") == len(example.experiments)
    assert output.count("With 2 seeds no claim can be decided") == len(example.experiments)
    assert "AGREES" not in output


def test_runs_without_the_extras(run, calls, tmp_path, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure", "tqdm"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    assert "No picture was drawn; install matplotlib" in run("size", seeds=6)
    assert not (tmp_path / "size.png").exists()


@pytest.mark.parametrize("name", ["claims", "runs", "style"])
def test_doctests(name):
    assert doctest.testmod(getattr(example, name)).failed == 0


def test_the_readme_names_each_experiment_and_only_files_that_are_there():
    folder = ROOT / "examples" / "dropout_paper"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE) == [*example.experiments]
    files = readme[readme.index("## The files") :]
    assert sorted(re.findall(r"`(\w+\.py)`", files)) == sorted(
        path.name for path in folder.glob("*.py") if path.name != "__init__.py"
    )
    for picture in re.findall(r"\]\((\w+\.png)\)", readme):
        assert (folder / picture).exists()


def test_program_in_a_pipe(tmp_path):
    options = ("features", "--seeds", "2", "--steps", "1")
    printed = run_in_a_pipe("dropout_paper", *options, folder=tmp_path)
    assert "Whether the numbers agree" in printed
    assert (tmp_path / "dropout_paper_results" / "runs.jsonl").exists()

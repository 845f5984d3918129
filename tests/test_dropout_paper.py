"""Tests of examples/dropout_paper.py: its runs are kept, its verdicts follow from the numbers."""

import copy
import doctest
import importlib
import importlib.util
import itertools
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microgrand
from microgrand import nn
from microgrand.data import batches
from microgrand.nn.functional import cross_entropy, mse_loss, softmax
from microgrand.optim import SGD

ROOT = Path(__file__).parents[1]
MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
MODULES = ("averaging", "calibration", "claims", "ensemble", "features", "maxnorm", "rate", "runs")
MODULES += ("size", "style", "training")


def load_example():
    """Import the script and the modules of its folder, as running it would."""
    with pytest.MonkeyPatch.context() as patch:
        # The script sets this variable where it is unset; undo it for the tests to come.
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        patch.syspath_prepend(ROOT / "examples")
        script = importlib.import_module("dropout_paper")
        modules = {name: importlib.import_module(f"dropout_experiments.{name}") for name in MODULES}
    return SimpleNamespace(main=script.main, experiments=script.EXPERIMENTS, **modules)


example = load_example()
Results = example.runs.Results
Claim, chance, within = example.claims.Claim, example.claims.chance, example.claims.within


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


# ------------------------------------------------------------------------ runs that are kept


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


def test_interrupted_run_goes_on_where_it_stopped(run, calls, tmp_path, monkeypatch):
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
        with pytest.raises(SystemExit, match="Interrupted; the same command goes on from"):
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
    results = Results([({"p": p, "seed": s}, {"e": p + s}) for s in (1, 0) for p in (0.0, 0.5)])
    np.testing.assert_array_equal(results.over_seeds("e", p=0.5), [0.5, 1.5])
    assert results.settings("p") == [0.0, 0.5]
    for where in ({}, {"p": 1}):
        with pytest.raises(ValueError, match="expected one for each seed"):
            results.over_seeds("e", **where)


# -------------------------------------------------------------------------------- verdicts


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_chance_is_the_share_of_sign_flips_at_least_as_far(values):
    flips = itertools.product([-1, 1], repeat=len(values))
    sums = [abs(np.dot(signs, values)) for signs in flips]
    share = np.mean([total >= abs(sum(values)) for total in sums])
    assert chance(np.array(values) / 3) == share


@pytest.mark.parametrize(
    ("contrasts", "verdict"),
    [
        ([[1, 2, 1, 3, 1, 2]], "agrees"),  # 2 of 64 flips
        ([[-1, -2, -1, -3, -1, -2]], "disagrees"),
        ([[1, 2, 1, 3, 1]], "undecided"),  # 2 of 32
        ([[3, 2, 1, 3, 1, 2, 2, -1]], "agrees"),  # 4 of 256
        ([[3, 2, 1, 3, 1, 2, -2, -1]], "undecided"),
        ([[0] * 8], "undecided"),
        ([[1] * 8, [1] * 8], "agrees"),
        ([[1] * 8, [1, -1] * 4], "undecided"),
        ([[1] * 8, [-1] * 8], "disagrees"),
        ([[1, -1] * 4, [-1] * 8], "disagrees"),
        # 2 of 64 flips are 3.1 %: enough for one number, not for one of two.
        ([[-1] * 6], "disagrees"),
        ([[1] * 6, [-1] * 6], "undecided"),
    ],
)
def test_verdict_is_what_the_numbers_show(contrasts, verdict):
    claim = Claim("it is so", {f"contrast {i}": x for i, x in enumerate(contrasts)})
    assert claim.verdict == verdict
    text = str(claim)
    assert text.startswith(f"{verdict.upper()}: it is so\n")
    for i, x in enumerate(contrasts):
        assert (
            f"contrast {i}: {example.claims.mean_and_error(x)}, chance {100 * chance(x):.3g} %"
            in text
        )


def test_within_a_margin():
    noise = np.array([0.1, -0.2, 0.3, -0.1, 0.2, -0.3, 0.1, -0.1])
    assert Claim("", within(noise, 1, "d", "margin")).verdict == "agrees"
    assert Claim("", within(noise, 0.05, "d", "margin")).verdict == "undecided"
    assert Claim("", within(noise + 2, 1, "d", "margin")).verdict == "disagrees"
    assert Claim("", within(noise - 2, 1, "d", "margin")).verdict == "disagrees"
    assert list(within(noise, 1, "d", "margin")) == ["margin - (d)", "margin + (d)"]


def made_up(name, of_run, seeds=8):
    """Make results of an experiment, with noise that no verdict is to depend on."""
    experiment = example.experiments[name]
    options = SimpleNamespace(seeds=seeds, steps=1, train_size=None)
    runs = experiment.runs(example.training.load("digits"), options)
    rng = np.random.default_rng(0)
    results = Results()
    for run in runs:
        outcome = {key: np.asarray(value, float) for key, value in of_run(run).items()}
        outcome = {key: x * rng.uniform(0.999, 1.001, x.shape) for key, x in outcome.items()}
        results.append((run, outcome))
    return results


def rate(run, effect):
    """Figure 9 for effect = 1, upside down for -1, flat for 0."""
    narrow = run["width"] == example.rate.WIDTH
    p = run["p"]
    rises = {0.0: 4, 0.1: 2, 0.7: 2, 0.8: 8 if narrow else 4, 0.9: 20}
    return {"error": 50 + effect * rises.get(p, 0)}


def size(run, effect):
    gain = {20: -1, 1000: 0.5}.get(run["train_size"], 2)
    return {"error": 20 - effect * gain * run["dropout"]}


def features(run, effect):
    effect *= run["p"]
    return {
        "active": 60 - effect * 20,
        "activation": 0.5 - effect * 0.4,
        "seen locally": 30 + effect * 20,
        "drawn locally": 30 + effect * 20,
        # That the error does not grow is shown by no effect, and no effect shows no reverse.
        "reconstruction": 10 if effect >= 0 else 14,
    }


def averaging(run, effect):
    k = np.array(example.averaging.SAMPLES)
    whole = 5 + 0.2 * run["seed"]
    if effect < 0:
        return {"weight scaling": whole, "averages": whole + np.where(k == 50, -2, 0.1) - 1 / k}
    return {"weight scaling": whole, "averages": whole + effect * (np.where(k < 50, 1, -0.05))}


def maxnorm(run, effect):
    constrained, p = run["constrained"], run["p"] > 0
    return {"error": 10 - effect * (3 * constrained + p)}


def ensemble(run, effect):
    gap = {"one thinned net": 2.0, "weight scaling": 1.0 - 0.9 * effect}
    outcome = {"difference": 10.0 ** (-12 - 2 * effect)}
    for way in example.ensemble.WAYS:
        outcome[f"{way}: error"] = 10 + gap.get(way, 0)
        outcome[f"{way}: distance"] = gap.get(way, 0) if effect >= 0 else 2 - gap.get(way, 0)
        outcome[f"{way}: log probability"] = effect * (way != "one thinned net")
    return outcome


def calibration(run, effect):
    outcome = {}
    for i, way in enumerate(example.calibration.WAYS):
        outcome[f"{way}: error"] = 10
        outcome[f"{way}: confidence"] = 90 + effect
        outcome[f"{way}: calibration error"] = 6 - effect * i
        outcome[f"{way}: log probability"] = effect * i
    return outcome


MADE_UP = (rate, size, features, averaging, maxnorm, ensemble, calibration)


@pytest.mark.parametrize("of_run", MADE_UP, ids=lambda of_run: of_run.__name__)
def test_claims_agree_with_numbers_like_the_papers(of_run):
    results = made_up(of_run.__name__, lambda run: of_run(run, 1))
    claims = example.experiments[of_run.__name__].claims(results)
    assert [str(claim) for claim in claims if claim.verdict != "agrees"] == []


@pytest.mark.parametrize("of_run", MADE_UP, ids=lambda of_run: of_run.__name__)
def test_claims_disagree_with_numbers_that_are_the_reverse(of_run):
    results = made_up(of_run.__name__, lambda run: of_run(run, -1))
    claims = example.experiments[of_run.__name__].claims(results)
    assert [str(claim) for claim in claims if claim.verdict != "disagrees"] == []


@pytest.mark.parametrize("of_run", MADE_UP, ids=lambda of_run: of_run.__name__)
def test_five_seeds_decide_nothing(of_run):
    results = made_up(of_run.__name__, lambda run: of_run(run, 1), seeds=5)
    claims = example.experiments[of_run.__name__].claims(results)
    assert {claim.verdict for claim in claims} == {"undecided"}


def test_the_best_rate_is_chosen_by_the_other_seeds():
    errors = np.array([[1.0, 5.0, 5.0], [3.0, 3.0, 3.5], [9.0, 9.0, 2.0]])  # rates, seeds
    # Seed 0: of 10, 6.5 and 11 the second is best; seed 1: 6, 6.5, 11; seed 2: 6, 6, 18.
    np.testing.assert_array_equal(example.maxnorm.best_by_others(errors), [3.0, 5.0, 5.0])


# -------------------------------------------------------------------------------- ensemble


def small_net(shape, seed):
    """Make a net with random biases; (units, dropout's p) for each hidden layer."""
    rng = np.random.default_rng(seed)
    layers, inputs = [], 3
    for units, p in shape:
        layers += [nn.Linear(inputs, units, dtype=np.float64, rng=rng), nn.ReLU()]
        layers.append(nn.Dropout(p))
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, 4, dtype=np.float64, rng=rng)).eval()


@given(
    shape=st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([0.0, 0.1, 0.5, 0.75])), min_size=1, max_size=3
    ),
    seed=st.integers(0, 2**32 - 1),
)
@hypothesis.example(shape=[(3, 0.1)], seed=0)
@hypothesis.example(shape=[(2, 0.1), (3, 0.75)], seed=0)
@hypothesis.example(shape=[(2, 0.0), (3, 0.75)], seed=0)
def test_all_thinned_nets_are_enumerated_with_their_probabilities(shape, seed):
    net = small_net(shape, seed)
    inputs = np.random.default_rng(seed).normal(size=(5, 3))
    with example.ensemble.microgrand.no_grad():
        weights, logits = example.ensemble.thinned_nets(net, inputs)
    n = sum(units for units, p in shape if p)
    assert weights.sum() == pytest.approx(1)
    assert logits.shape == (2**n, 5, 4)

    by_hand = []
    choices = [
        itertools.product([0, 1], repeat=units) if p else [(1,) * units] for units, p in shape
    ]
    for masks in itertools.product(*choices):
        x, weight = inputs, 1
        for layer, mask, (_, p) in zip(net[:-1][::3], masks, shape, strict=True):
            x = np.maximum(x @ layer.weight.data.T + layer.bias.data, 0) * mask / (1 - p)
            k = sum(mask)
            weight *= p ** (len(mask) - k) * (1 - p) ** k
        by_hand.append((weight, x @ net[-1].weight.data.T + net[-1].bias.data))
    np.testing.assert_allclose(weights, [weight for weight, _ in by_hand])
    np.testing.assert_allclose(logits, [x for _, x in by_hand], atol=1e-12)

    # In training, under the masks of the last one, the library's dropout gives the same.
    kept = [np.broadcast_to(np.array(mask, bool), (5, len(mask))) for mask in masks]
    with nn.DropoutMasks(kept):
        np.testing.assert_allclose(net.train()(inputs).data, logits[-1], atol=1e-12)
    net.eval()

    # The averages, by brute force.
    answers = example.ensemble.averages(net, inputs)
    mean = sum(weight * softmax(x) for weight, x in by_hand)
    product = np.exp(sum(weight * np.log(softmax(x)) for weight, x in by_hand))
    product /= product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(answers["arithmetic mean"][1][0]), mean)
    np.testing.assert_allclose(np.exp(answers["geometric mean"][1][0]), product)
    scaling = np.exp(answers["weight scaling"][1][0])
    np.testing.assert_allclose(scaling, softmax(net(inputs)).data)
    if not any(p for _, p in shape[:-1]):
        # Only a softmax layer follows the dropped units: weight scaling is the geometric mean.
        np.testing.assert_allclose(scaling, product, rtol=1e-12)


def test_weight_scaling_is_an_approximation_where_a_layer_follows():
    net = small_net([(3, 0.5), (3, 0.0)], seed=1)
    inputs = np.random.default_rng(1).normal(size=(5, 3))
    by = example.ensemble.averages(net, inputs)
    assert np.abs(by["weight scaling"][1] - by["geometric mean"][1]).max() > 1e-4


# ------------------------------------------------------------------------------ calibration


@pytest.mark.parametrize(
    ("confidences", "right", "expected"),
    [
        ([0.75] * 4, [1, 1, 1, 0], 0),
        ([1.0] * 4, [0, 0, 0, 0], 100),
        ([1.0] * 4, [1, 1, 1, 1], 0),
        ([0.65] * 2 + [0.95] * 2, [1, 1, 1, 1], 20),  # distances 0.35 and 0.05
        ([0.65] * 2 + [0.95] * 2, [1, 0, 1, 0], 30),  # 0.15 and 0.45, whatever their signs
        ([0.65] * 3 + [0.95], [1, 0, 0, 1], 25),  # a third of 0.65: 0.317, thrice; 0.05 once
    ],
)
def test_calibration_error_by_hand(confidences, right, expected):
    p = np.stack([confidences, 1 - np.array(confidences)], axis=1)
    bins = example.calibration.reliability(p, 1 - np.array(right))
    assert example.calibration.calibration_error(bins) == pytest.approx(expected, abs=1e-9)
    assert sum(bins["answers"]) == len(right)
    assert len(bins["answers"]) == example.calibration.BINS


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 50), sharp=st.floats(0, 20))
def test_calibration_error_is_at_least_the_difference_of_the_means(seed, n, sharp):
    rng = np.random.default_rng(seed)
    p, labels = softmax(sharp * rng.normal(size=(n, 3))), rng.integers(0, 3, n)
    bins = example.calibration.reliability(p, labels)
    error = example.calibration.calibration_error(bins)
    overall = 100 * abs(p.max(axis=1).mean() - np.mean(p.argmax(axis=1) == labels))
    assert overall - 1e-9 <= error <= 100
    for i in range(example.calibration.BINS):
        if bins["answers"][i]:
            edges = np.array([i, i + 1]) / example.calibration.BINS
            mean = bins["confidence"][i] / bins["answers"][i]
            assert edges[0] - 1e-9 <= mean <= edges[1] + 1e-9


# -------------------------------------------------------------------------------- features


def test_shape_of_an_example():
    assert [example.training.image_shape(n) for n in (64, 784, 40)] == [(8, 8), (28, 28), (1, 40)]


def test_patterns_are_drawn_as_they_are():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    data = example.training.load("digits")
    options = SimpleNamespace(seeds=2, steps=1, train_size=50)
    runs = example.features.runs(data, options)
    results = Results((run, example.features.measure(data, run)) for run in runs)
    example.features.draw(figure, results)
    images = [image for axes in figure.axes for image in axes.images]
    # Between the pixels of a pattern in one row, nothing is to be made up.
    assert [image.get_interpolation() for image in images] == ["nearest"] * 4


def test_locality():
    spot, even = np.zeros((8, 8)), np.ones((8, 8))
    spot[2, 6] = -3
    two = np.zeros((8, 8))
    two[0, 0] = two[7, 7] = 1
    patterns = np.array([spot, even, two]).reshape(3, 64)
    np.testing.assert_allclose(example.features.locality(patterns, (8, 8)), [1, 9 / 64, 0.5])
    np.testing.assert_allclose(example.features.locality(np.ones((2, 40)), (1, 40)), 15 / 40)


# ------------------------------------------------------------ what each experiment trains


@pytest.fixture
def trained(monkeypatch):
    """Return the list of trainings, each with its net, and with what it saw of it."""
    trainings, train = [], example.training.train

    def watched(net, x, y, steps, rngs, *, after_step=lambda step: None, **options):
        def loss():
            with microgrand.no_grad():
                return options.get("loss", cross_entropy)(net.eval()(x), y).item()

        modes, before = [], loss()

        def look(step):
            modes.append({module.training for module in net.modules()})
            after_step(step)

        train(net, x, y, steps, rngs, after_step=look, **options)
        assert modes == [{True}] * steps
        assert not any(module.training for module in net.modules())
        assert loss() < 0.9 * before
        rates = [module.p for module in net.modules() if isinstance(module, nn.Dropout)]
        masks, optimizer = copy.deepcopy(rngs.masks), options.get("optimizer")
        trainings.append(SimpleNamespace(net=net, rates=rates, masks=masks, optimizer=optimizer))

    monkeypatch.setattr(example.training, "train", watched)
    return trainings


def measured(name, trained, steps=100, **settings):
    """Measure once, and return the outcome, the one training, and what is tested on."""
    data = example.training.load("digits")
    outcome = example.experiments[name].measure(
        data, {"experiment": name, "seed": 1, "train_size": 100, "steps": steps, **settings}
    )
    (training,) = trained
    _, (x, y) = data.split(100, example.training.Generators.of(1).split)
    return outcome, training, x, y


def percent_wrong(answers, labels):
    return float(100 * np.mean(np.argmax(answers, axis=-1) != labels))


def units(net):
    return [layer.weight.shape[0] for layer in net.modules() if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_rate_trains_with_its_rate_and_width(trained, p):
    outcome, training, x, y = measured("rate", trained, p=p, width=20)
    assert training.rates == [p] * 3
    assert units(training.net) == [20, 20, 20, 10]
    assert outcome == {"error": percent_wrong(training.net(x).data, y)}


@pytest.mark.parametrize("dropout", [False, True])
def test_size_trains_with_dropout_or_without(trained, dropout):
    outcome, training, x, y = measured("size", trained, dropout=dropout)
    assert training.rates == ([0.2, 0.5, 0.5, 0.5] if dropout else [0.0] * 3)
    assert outcome == {"error": percent_wrong(training.net(x).data, y)}


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_features_are_those_of_an_autoencoder_with_its_rate(trained, p):
    outcome, training, x, _ = measured("features", trained, p=p)
    assert training.rates == [p]
    assert units(training.net) == [example.features.UNITS, 64]
    misses = np.sum((training.net(x).data - x) ** 2) / np.sum((x - x.mean(axis=0)) ** 2)
    assert outcome["reconstruction"] == pytest.approx(100 * misses, rel=1e-4)
    hidden = training.net[0](x).data
    assert outcome["active"] == pytest.approx(100 * np.mean(hidden > 0))
    assert outcome["activation"] == pytest.approx(hidden.mean(), rel=1e-4)


@pytest.mark.parametrize("p", [0.0, 0.5])
@pytest.mark.parametrize("constrained", [False, True])
def test_max_norm_holds_if_constrained(trained, p, constrained):
    outcome, training, x, y = measured("maxnorm", trained, lr=0.1, p=p, constrained=constrained)
    assert training.rates == [p] * 2
    layers = [layer for layer in training.net if isinstance(layer, nn.Linear)]
    norms = np.concatenate([np.linalg.norm(layer.weight.data, axis=1) for layer in layers])
    assert (norms.max() <= example.maxnorm.MAX_NORM * (1 + 1e-5)) == constrained
    assert training.optimizer.lr == pytest.approx(0)
    assert training.optimizer.momentum == 0.95
    assert outcome == {"error": percent_wrong(training.net(x).data, y)}


@pytest.mark.parametrize("name", example.ensemble.NETS)
def test_ensemble_trains_the_net_that_is_asked(trained, monkeypatch, name):
    monkeypatch.setattr(example.ensemble, "COMPARED", 20)
    outcome, training, x, y = measured("ensemble", trained, net=name)
    widths, rates = example.ensemble.NETS[name]
    assert training.rates == rates
    assert sum(width for width, p in zip(widths, rates, strict=True) if p == 0.2) == 12
    assert units(training.net) == [*widths, 10]
    logits = training.net(x[:20].astype(np.float64)).data
    assert outcome["weight scaling: error"] == percent_wrong(logits, y[:20])


def test_averages_are_those_of_the_thinned_nets(trained, monkeypatch):
    monkeypatch.setattr(example.averaging, "SAMPLES", (1, 5, 10))
    outcome, training, x, y = measured("averaging", trained)
    assert training.rates == [0.5] * 3
    net = training.net
    thinned = nn.mc_dropout(lambda x: softmax(net(x)), x, 10, rng=training.masks).samples
    one = np.mean([percent_wrong(p, y) for p in thinned])
    five = [percent_wrong(p.mean(axis=0), y) for p in (thinned[:5], thinned[5:])]
    ten = percent_wrong(thinned.mean(axis=0), y)
    assert outcome["averages"] == pytest.approx([one, np.mean(five), ten])
    assert outcome["weight scaling"] == percent_wrong(net(x).data, y)
    assert len({*outcome["averages"], outcome["weight scaling"]}) == 4


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_calibration_is_that_of_each_way(trained, monkeypatch, p):
    monkeypatch.setattr(example.calibration, "SAMPLES", 10)
    outcome, training, x, y = measured("calibration", trained, p=p)
    assert training.rates == [p] * 3
    net = training.net
    whole = softmax(net(x)).data
    if p == 0:
        answers = {"without dropout": whole}
    else:
        averaged = nn.mc_dropout(lambda x: softmax(net(x)), x, 10, rng=training.masks).mean
        answers = {"dropout, weight scaling": whole, "dropout, averaged": averaged}
        assert np.abs(averaged - whole).max() > 0.01
    assert {key.partition(":")[0] for key in outcome} == set(answers)
    for way, q in answers.items():
        assert outcome[f"{way}: error"] == percent_wrong(q, y)
        assert outcome[f"{way}: confidence"] == pytest.approx(100 * q.max(axis=1).mean(), rel=1e-4)
        truth = np.log(q[np.arange(len(y)), y]).mean()
        assert outcome[f"{way}: log probability"] == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_calibration_where_probabilities_underflow(monkeypatch, p):
    def sharpen(net, x, y, steps, rngs):
        net[-1].weight.data *= 1e4
        net.eval()

    monkeypatch.setattr(example.training, "train", sharpen)
    monkeypatch.setattr(example.calibration, "SAMPLES", 3)
    data = example.training.load("digits")
    run = {"seed": 0, "train_size": 100, "steps": 1, "p": p}
    outcome = example.calibration.measure(data, run)
    json.dumps(outcome, allow_nan=False)
    # A float32 has no probability below exp(-104).
    assert all(value < -104 for key, value in outcome.items() if key.endswith("log probability"))


def test_training_steps_down_the_gradient_of_each_batch():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 3)), rng.normal(size=(120, 2))
    net = nn.Linear(3, 2, dtype=np.float64, rng=rng)
    weight, bias = net.weight.data.copy(), net.bias.data.copy()
    rngs = example.training.Generators.of(0)
    order = copy.deepcopy(rngs.order)
    example.training.train(
        net, x, y, 5, rngs, optimizer=SGD(net.parameters(), lr=0.1), loss=mse_loss
    )
    epochs = (batches(x, y, batch_size=50, rng=order) for _ in range(2))
    for x_batch, y_batch in itertools.islice(itertools.chain.from_iterable(epochs), 5):
        slope = 2 * (x_batch @ weight.T + bias - y_batch) / y_batch.size
        weight, bias = weight - 0.1 * slope.T @ x_batch, bias - 0.1 * slope.sum(axis=0)
    np.testing.assert_allclose(net.weight.data, weight)
    np.testing.assert_allclose(net.bias.data, bias)


# -------------------------------------------------------------------------- pairs, and data


def test_nets_of_a_seed_are_compared_in_pairs():
    data, training = example.training.load("digits"), example.training
    sets, weights, order = [], [], []
    for p, train_size in ((0.0, 100), (0.5, 100), (0.5, 300)):
        rngs = training.Generators.of(3)
        sets.append(data.split(train_size, rngs.split))
        net = training.mlp(data, [8, 6], [p, p], rngs)
        weights.append(net.state_dict())
        training.train(net, *sets[-1][0], 3, rngs)
        assert not net.training
        order.append(rngs.order.random())
    for name in weights[0]:
        np.testing.assert_array_equal(weights[0][name], weights[1][name])
    # Drawing masks has not moved on what draws the batches.
    assert order[0] == order[1]
    for train, test in sets[1:]:
        np.testing.assert_array_equal(train[0][:100], sets[0][0][0])
        np.testing.assert_array_equal(test[0], sets[0][1][0])
    # What is tested on is not trained on; digits that are the same twice are not in these.
    everything = np.concatenate([sets[2][0][0], sets[2][1][0]])
    assert len(np.unique(everything, axis=0)) == len(everything) == 300 + 797
    other, _ = data.split(100, training.Generators.of(4).split)
    assert not np.array_equal(other[0], sets[0][0][0])


def test_training_stops_after_the_steps():
    data, steps = example.training.load("digits"), []
    rngs = example.training.Generators.of(0)
    (x, y), _ = data.split(120, rngs.split)
    net = example.training.mlp(data, [4], [0.5], rngs)
    example.training.train(net, x, y, 7, rngs, after_step=steps.append)
    assert steps == list(range(7))


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(folder, halves, rng):
    folder.mkdir()
    for name, n in halves.items():
        write_idx(folder / f"{name}-images-idx3-ubyte", rng.integers(0, 256, (n, 4, 4)))
        write_idx(folder / f"{name}-labels-idx1-ubyte", np.arange(n) % 10)
    return str(folder)


def test_folder_with_the_t10k_files_only_is_split(run, tmp_path):
    folder = write_mnist(tmp_path / "mnist", {"t10k": 200}, np.random.default_rng(0))
    output = run("features", "--data", folder)
    assert "has no train files: 160 examples to train on, 40 to test on, drawn anew" in output
    write_idx(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", np.arange(199) % 10)
    with pytest.raises(ValueError, match="200 images, but 199 labels in"):
        example.training.load(folder)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="train-images"):
        example.training.load(folder)


def test_folder_with_all_files_keeps_its_test_set(run, tmp_path):
    folder = write_mnist(tmp_path / "mnist", {"train": 120, "t10k": 30}, np.random.default_rng(0))
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


# ---------------------------------------------------------------------------------- command


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
        (["rate", "--data", "no-such-folder"], "--data: no-such-folder is not a folder"),
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
    folder = write_mnist(tmp_path / "mnist", {"t10k": 200}, np.random.default_rng(0))
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


def test_progress_bar_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert list(example.runs.progress([1, 2], "rate")) == [1, 2]
    assert "rate: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["claims", "runs", "style"])
def test_doctests(name):
    assert doctest.testmod(getattr(example, name)).failed == 0


def test_script_in_a_pipe(tmp_path):
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment["PYTHONUTF8"] = "1"
    script = ROOT / "examples" / "dropout_paper.py"
    result = subprocess.run(
        [sys.executable, script, "features", "--seeds", "2", "--steps", "1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    assert "Whether the numbers agree" in result.stdout
    # Neither a bar nor a warning.
    assert result.stderr == ""
    assert "\r" not in result.stdout
    assert (tmp_path / "dropout_paper_results" / "runs.jsonl").exists()

"""Tests of examples/dropout_paper: what each experiment trains, and measures of it."""

import copy
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from paper import example

import microgrand
from microgrand import nn
from microgrand.data import batches
from microgrand.nn.functional import cross_entropy, mse_loss, softmax
from microgrand.optim import SGD


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


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("no layer", {}),
        ("dense layer only", {11: nn.Dropout}),
        ("first convolution, units", {3: nn.Dropout}),
        ("last convolution, channels", {7: nn.Dropout2d}),
        ("all layers, units", {3: nn.Dropout, 7: nn.Dropout, 11: nn.Dropout}),
        ("all layers, channels", {3: nn.Dropout2d, 7: nn.Dropout2d, 11: nn.Dropout}),
    ],
)
def test_conv_drops_in_its_layers_only(trained, name, layers):
    outcome, training, x, y = measured("conv", trained, dropout=name)
    net = training.net
    kinds = (nn.Dropout, nn.Dropout2d)
    found = {i: layer for i, layer in enumerate(net) if isinstance(layer, kinds)}
    assert {i: type(layer) for i, layer in found.items()} == layers
    assert {layer.p for i, layer in found.items() if i != 11} <= {example.conv.P_CONV}
    assert [layer.p for i, layer in found.items() if i == 11] == [0.5] * (11 in layers)
    assert outcome["error"] == percent_wrong(net(x.reshape(-1, 1, 8, 8)).data, y)
    sizes = [8 * 9 + 8 + 8 * 16 * 9 + 16, 64 * 128 + 128 + 128 * 10 + 10]
    assert [value for key, value in outcome.items() if "parameters" in key] == sizes


@pytest.mark.parametrize("pixels", [1, 9, 16, 40])
def test_conv_takes_small_images_and_rows(pixels):
    shape = example.training.image_shape(pixels)
    rngs = example.training.Generators.of(0)
    net = example.conv.cnn(shape, 3, "all layers, channels", rngs)
    assert net(np.ones((2, 1, *shape), np.float32)).shape == (2, 3)


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

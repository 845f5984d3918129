"""Monte-Carlo dropout: its samples are thinned nets, drawn for the caller alone."""

import asyncio
import contextlib
import threading

import numpy as np
import pytest
from planting import plant

from microgrand import Tensor, manual_seed, nn
from microgrand.dispatch import data_of
from microgrand.nn import functional as F
from microgrand.nn.dropout import monte_carlo
from microgrand.nn.dropout.masks import chance, source
from microgrand.nn.dropout.monte_carlo import Sampler
from microgrand.nn.inputs import as_tensor
from microgrand.random import default_generator

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def a_net(**options):
    return nn.Sequential(
        nn.Linear(4, 16, rng=np.random.default_rng(1)),
        nn.ReLU(),
        nn.Dropout(0.5, **options),
        nn.Linear(16, 3, rng=np.random.default_rng(2)),
    ).eval()


class DropsWeights(nn.Module):
    """All examples of a call share one mask of the weights."""

    def __init__(self):
        self.layer = nn.DropConnect(4, 3, rng=np.random.default_rng(1))
        self.layer.rng = None  # for the masks, the library's

    def forward(self, x):
        return self.layer(x)


class DropsWeightsByFunction(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(4, 3, rng=np.random.default_rng(1))

    def forward(self, x):
        return F.linear(x, F.dropout(self.layer.weight, training=self.training))


class SharesOverTheBatch(nn.Module):
    def __init__(self):
        self.dropout = nn.Dropout(shared_axes=0)

    def forward(self, x):
        return self.dropout(x)


class MixesExamples(nn.Module):
    """Each example sees the mean of all."""

    def __init__(self):
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = self.dropout(x)
        return x - x.mean(axis=0, keepdims=True)


class DividesByTheLargest(nn.Module):
    """Mixes examples, but only where the largest of all is dropped."""

    def __init__(self):
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = self.dropout(np.abs(x))
        return x / (x.max(axis=0) + 1e-9)


class ReturnsOneNumber(nn.Module):
    def __init__(self):
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(x).sum()


class TimeFirst(nn.Module):
    """Moves the batch to the second axis, and shares masks over the first."""

    def __init__(self):
        self.dropout = nn.Dropout(0.5, shared_axes=0)

    def forward(self, x):
        return np.swapaxes(self.dropout(np.swapaxes(as_tensor(x)[:, :, None], 0, 1)), 0, 1)


MODELS = [
    a_net(), a_net(scaling="classic"), TimeFirst(), DropsWeights(), DropsWeightsByFunction(),
    SharesOverTheBatch(), MixesExamples(), DividesByTheLargest(), ReturnsOneNumber(),
]  # fmt: skip


def check_samples_are_independent(model):
    """No two samples are as alike as those of one mask would be."""
    samples = nn.mc_dropout(model, X, 200, rng=0).samples
    flat = samples.reshape(200, -1).astype(float)
    varying = flat[:, flat.std(axis=0) > 1e-6]
    assert varying.size
    z = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    # The correlations of neighbours and of far samples, averaged over the outputs: their
    # standard deviation is at most 1 / sqrt(200 - lag), all outputs being one.
    for lag in (1, 2, 3, 30):
        assert abs(np.mean(z[:-lag] * z[lag:])) < 5 / np.sqrt(200 - lag)
    assert len({sample.tobytes() for sample in samples}) > 10  # of 16, for one mask of 4


def check_samples_are_passes_in_training(model):
    samples = nn.mc_dropout(model.eval(), X, 10, rng=3).samples
    manual_seed(3)
    model.train()
    passes = [data_of(model(X)) for _ in range(10)]
    np.testing.assert_array_equal(samples, passes)


def check_each_sample_is_divided_by_its_own_largest(model):
    for seed in range(100):
        largest = nn.mc_dropout(model, X, 10, rng=seed).samples.max(axis=1)
        assert (np.isclose(largest, 1) | (largest == 0)).all()


def check_masks_that_are_held_are_refused(net):
    one_of_two = nn.DropoutMasks().hold(net)
    for model, drawn in (nn.DropoutMasks().hold(net), 0), (lambda x: one_of_two(x) + net(x), 1):
        with pytest.raises(ValueError, match=f"in the first sample and {drawn} in a later one"):
            nn.mc_dropout(model, X, 50)


def check_an_error_ends_it(net):
    def model(x):
        net(x)
        raise KeyError("model")

    with pytest.raises(KeyError, match="model"):
        nn.mc_dropout(model, X, 5)
    left, _ = source.get(), source.set(chance)  # for the tests that follow a mistake
    assert left is chance


def check_nothing_is_recorded(net):
    seen = []

    def model(x):
        seen.append(net(x).requires_grad)
        return net(x)

    nn.mc_dropout(model, X, 3)
    assert seen == [False] * 3


def test_a_model_that_mixes_examples_now_and_then():
    check_each_sample_is_divided_by_its_own_largest(DividesByTheLargest())


def names(model):
    return type(model).__name__


@pytest.mark.parametrize("model", MODELS, ids=names)
@pytest.mark.parametrize(
    "check", [check_samples_are_independent, check_samples_are_passes_in_training]
)
def test_samples(check, model):
    check(model)


MISTAKES = [
    *(
        (check, "next_mask", "self.outer.draw_mask(layer, shape, self.rng)", wrong)
        for check, wrong in [
            (check_samples_are_independent, "layer.draw(shape, np.random.default_rng(0))"),
            (check_samples_are_passes_in_training, "layer.draw((1,) + shape[1:], self.rng)"),
            (check_samples_are_passes_in_training, "layer.draw(shape, self.rng.spawn(1)[0])"),
            (check_samples_are_passes_in_training, "MaskSource().next_mask(layer, shape)"),
        ]
    ),
    (check_masks_that_are_held_are_refused, "run", "self.calls = 0", "pass"),
    (check_an_error_ends_it, "run", "source.reset(token)", "pass"),
    (check_nothing_is_recorded, "run", "no_grad()", "contextlib.nullcontext()"),
]


@pytest.mark.parametrize(("check", "method", "right", "wrong"), MISTAKES)
def test_mistakes_are_noticed(check, method, right, wrong, monkeypatch):
    check(a_net())
    monkeypatch.setattr(monte_carlo, "contextlib", contextlib, raising=False)
    plant(monkeypatch, (Sampler, method, right, wrong))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(a_net())


def test_a_sample_is_a_thinned_net(monkeypatch):
    net = a_net()
    result = nn.mc_dropout(net, X, 7, rng=3)
    assert result.samples.shape == (7, 6, 3)
    assert result.samples.dtype == np.float32
    exact = result.samples.astype(float)
    np.testing.assert_array_equal(result.mean, exact.mean(axis=0).astype(np.float32))
    np.testing.assert_array_equal(result.std, exact.std(axis=0).astype(np.float32))
    masks = []
    draw = net[2].draw
    monkeypatch.setattr(net[2], "draw", lambda *args: masks.append(draw(*args)) or masks[-1])
    again = nn.mc_dropout(net, X, 7, rng=3)
    np.testing.assert_array_equal(again.samples, result.samples)
    for mask, sample in zip(masks, result.samples, strict=True):
        with nn.DropoutMasks([mask]):
            np.testing.assert_allclose(net.train()(X).data, sample, rtol=1e-5, atol=1e-6)


def test_the_mean_over_all_masks_of_a_linear_net_is_what_evaluation_gives():
    net = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 2, rng=np.random.default_rng(0))).eval()
    result = nn.mc_dropout(net, X, 4000, rng=0)
    error = result.std / np.sqrt(4000)
    assert (abs(result.mean - net(X).data) < 5 * error).all()


def test_one_seed_gives_the_same_samples():
    net = a_net(rng=np.random.default_rng(8))
    first = nn.mc_dropout(net, X, 5, rng=3).samples
    np.testing.assert_array_equal(first, nn.mc_dropout(net, X, 5, rng=3).samples)
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(first, nn.mc_dropout(net, X, 5, rng=rng).samples)
    assert not np.array_equal(first, nn.mc_dropout(net, X, 5, rng=rng).samples)
    assert not np.array_equal(first, nn.mc_dropout(net, X, 5, rng=4).samples)
    manual_seed(3)
    np.testing.assert_array_equal(first, nn.mc_dropout(net, X, 5).samples)


def test_the_model_is_left_as_it_was():
    rng = np.random.default_rng(8)
    net = a_net(rng=rng)
    before = rng.bit_generator.state, default_generator.bit_generator.state
    for mode in (True, False):
        net.train(mode)
        result = nn.mc_dropout(net, X, 5, rng=0)
        assert all(module.training is mode for module in net.modules())
        assert (result.std > 0).any()
    assert (rng.bit_generator.state, default_generator.bit_generator.state) == before
    assert source.get() is chance
    np.testing.assert_array_equal(net(X).data, net(X).data)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net(X).requires_grad, "recording goes on"


@pytest.mark.parametrize(
    "check",
    [
        check_an_error_ends_it,
        check_masks_that_are_held_are_refused,
        check_nothing_is_recorded,
    ],
)
def test_what_it_takes_care_of(check):
    check(a_net())


def test_other_threads_see_evaluation():
    net = a_net()
    expected = net(X).data
    inside, seen = threading.Event(), threading.Event()
    others = []

    def model(x):
        inside.set()
        assert seen.wait(10)
        return net(x)

    def other():
        assert inside.wait(10)
        others.append(net(X).data)
        seen.set()

    thread = threading.Thread(target=other)
    thread.start()
    result = nn.mc_dropout(model, X, 3)
    thread.join()
    np.testing.assert_array_equal(others[0], expected)
    assert (result.std > 0).any()


def test_other_tasks_see_evaluation():
    net = a_net()

    async def run():
        async def evaluate():
            return net(X).data

        task = asyncio.create_task(evaluate())
        nn.mc_dropout(net, X, 3)
        return await task

    np.testing.assert_array_equal(asyncio.run(run()), net(X).data)


def test_functions_drop_too():
    def model(x):
        return F.dropout(x, 0.5, training=False)

    assert (nn.mc_dropout(model, np.ones((3, 4)), 50, rng=0).std > 0).all()


def test_blocks_of_masks_in_and_around_it():
    dropout = nn.Dropout(0.5).eval()

    def model(x):
        masks = nn.DropoutMasks()
        for _ in range(3):  # one mask over all steps
            with masks:
                x = dropout(x)
        return x

    samples = nn.mc_dropout(model, np.ones((3, 4)), 50, rng=0).samples
    assert set(np.unique(samples)) == {0, 8}
    masks = nn.DropoutMasks()
    with pytest.raises(RuntimeError, match="record none of them"), masks:
        nn.mc_dropout(model, np.ones((3, 4)), 50, rng=0)
    assert source.get() is chance


def test_later_samples_may_draw_more_masks():
    dropout, calls = nn.Dropout(0.5), []

    def model(x):
        calls.append(x)
        return dropout(dropout(x)) if len(calls) > 5 else dropout(x)

    samples = nn.mc_dropout(model, np.ones((64, 64)), 20, rng=0).samples
    assert samples[:5].max() == 2
    assert samples[5:].max() == 4


@pytest.mark.parametrize(
    ("dtype", "largest"), [(np.float16, 30000), (np.float32, 1e30), (np.longdouble, 1e300)]
)
def test_mean_and_deviation_do_not_overflow(dtype, largest):
    result = nn.mc_dropout(nn.Dropout(0.5), np.ones((2, 3), dtype) * dtype(largest), 100, rng=0)
    kept = (result.samples > 0).mean(axis=0)
    np.testing.assert_allclose(result.mean / dtype(largest), 2 * kept, rtol=1e-3)
    np.testing.assert_allclose(
        result.std / dtype(largest), 2 * np.sqrt(kept * (1 - kept)), rtol=1e-3
    )


@pytest.mark.parametrize("shape", [(4,), (0, 4), (1, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_shapes_and_dtypes(shape, dtype):
    dropout = nn.Dropout(0.5)
    for given in np.ones(shape, dtype), Tensor(np.ones(shape, dtype), requires_grad=True):
        result = nn.mc_dropout(dropout, given, 5, rng=0)
        assert result.samples.shape == (5, *shape)
        assert result.samples.dtype == result.mean.dtype == result.std.dtype == dtype
        assert all(type(array) is np.ndarray for array in result)


def test_infinite_outputs():
    dropout = nn.Dropout(0.5)
    samples = nn.mc_dropout(lambda x: dropout(x) + 0, np.array([[1.0, 2.0]]), 5, rng=0).samples
    with np.errstate(invalid="ignore"):
        infinite = nn.mc_dropout(dropout, np.array([[np.inf, np.nan]]), 5, rng=0).samples
    np.testing.assert_array_equal(np.isinf(infinite[..., 0]), samples[..., 0] > 0)
    np.testing.assert_array_equal(np.isnan(infinite[..., 1]), samples[..., 1] > 0)


def test_one_number_and_classes():
    dropout = nn.Dropout(0.5)
    result = nn.mc_dropout(dropout, 1.0, 20, rng=0)
    assert result.samples.shape == (20,)
    assert set(result.samples) == {0.0, 2.0}
    net = a_net()
    classes = nn.mc_dropout(lambda x: net(x).argmax(axis=1), X, 20, rng=0).samples
    assert classes.shape == (20, 6)
    assert classes.dtype.kind == "i"


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda net: nn.mc_dropout(net, X, 0), ValueError, "samples must be at least 1, got 0"),
        (
            lambda net: nn.mc_dropout(net, X, 2.0),
            TypeError,
            r"samples must be an integer, got 2\.0",
        ),
        (lambda net: nn.mc_dropout(net, X, True), TypeError, "samples must be an integer"),
        (lambda net: nn.mc_dropout(net, X, 2, rng=True), TypeError, "default_rng"),
        (lambda net: nn.mc_dropout(net, X, 2, rng="0"), TypeError, "default_rng"),
        (lambda net: nn.mc_dropout(net[0], X, 2), ValueError, "called no dropout"),
        (lambda net: nn.mc_dropout(lambda x: (net(x),), X, 2), TypeError, "got tuple"),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use(a_net())
    assert source.get() is chance

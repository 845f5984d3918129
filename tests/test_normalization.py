"""Normalisation: values, derivatives of all orders, running statistics, dtypes and misuse.

What PyTorch gives for the same is compared in test_recorded_images.py.
"""

import copy
import re

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from helpers import FLOATS
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, compile, grad, nn, optim
from microgrand.nn import functional as F
from microgrand.nn.scores import How, project, scores, standardized, total
from microgrand.testing import gradcheck

seeds = st.integers(0, 2**32 - 1)


@st.composite
def inputs(draw, min_dims=2):
    """Draw a batch with channels and perhaps with space, and a weight and a bias for each."""
    rng = np.random.default_rng(draw(seeds))
    channels = draw(st.sampled_from([1, 2, 4]))
    space = draw(st.lists(st.integers(1, 3), min_size=min_dims - 2, max_size=2))
    x = rng.normal(size=(draw(st.integers(2, 3)), channels, *space)) * 2 + 1
    return x, rng.normal(size=channels), rng.normal(size=channels)


# ------------------------------------------------------------------------------- derivatives


@given(inputs(min_dims=3), st.integers(1, 5), st.sampled_from([0.75, 1.0, 0.5]))
def test_derivatives_of_local_response_norm(arrays, size, beta):
    x = arrays[0]
    options = {"alpha": 0.7, "beta": beta, "k": 1.5}
    out = F.local_response_norm(x, size, **options)
    for c in range(x.shape[1]):
        near = x[:, max(c - size // 2, 0) : c + (size + 1) // 2]
        divisor = (1.5 + 0.7 * np.sum(near**2, axis=1) / size) ** beta
        np.testing.assert_allclose(out.data[:, c], x[:, c] / divisor, rtol=1e-12)
    layer = nn.LocalResponseNorm(size, **options)
    assert gradcheck(layer, x, order=2, mode="fast")


def test_local_response_norm_of_float16_does_not_overflow():
    x = np.full((1, 3, 2), 1000, np.float16)
    out = F.local_response_norm(x, 3, alpha=1.0, beta=0.5)
    assert out.dtype == np.float16
    np.testing.assert_allclose(out.data[0, :, 0].astype(float), np.sqrt([1.5, 1, 1.5]), rtol=1e-3)


def test_compiled_local_response_norm_has_the_same_bits():
    draw = np.random.default_rng(0).normal(size=(4, 2, 5, 3)).astype(np.float32)
    assert_runs_as_eager(
        grad(lambda x: np.sum(np.square(F.local_response_norm(x, 3, 0.5)))), lambda i: draw[i]
    )


def with_some(draw, function, x, weight, bias):
    """Give a function its parameters, or one of them, or none."""
    number = draw(st.integers(0, 2))
    return function, (x, weight, bias)[: number + 1]


@given(inputs(), st.data())
def test_derivatives_of_batch_norm_in_training(arrays, data):
    function, given_arrays = with_some(
        data.draw, lambda x, *wb: F.batch_norm(x, None, None, *wb, training=True, eps=0.1), *arrays
    )
    assert gradcheck(function, *given_arrays, order=2, mode="fast")


@given(inputs(), st.data())
def test_derivatives_of_batch_norm_in_evaluation(arrays, data):
    channels = len(arrays[1])
    mean, var = Tensor(np.arange(1.0, channels + 1)), Tensor(np.arange(2.0, channels + 2))
    function, given_arrays = with_some(
        data.draw, lambda x, *wb: F.batch_norm(x, mean, var, *wb), *arrays
    )
    assert gradcheck(function, *given_arrays, order=2, mode="fast")
    shape = (channels,) + (1,) * (arrays[0].ndim - 2)
    m, v, w, b = (np.reshape(a, shape) for a in (mean.data, var.data, *arrays[1:]))
    expected = (arrays[0] - m) / np.sqrt(v + 1e-5) * w + b
    np.testing.assert_allclose(F.batch_norm(arrays[0], mean, var, *arrays[1:]).data, expected)


@given(inputs(), st.data())
def test_derivatives_of_group_norm(arrays, data):
    groups = data.draw(st.sampled_from([g for g in (1, 2, 4) if len(arrays[1]) % g == 0]))
    function, given_arrays = with_some(
        data.draw, lambda x, *wb: F.group_norm(x, groups, *wb, eps=0.1), *arrays
    )
    assert gradcheck(function, *given_arrays, order=2, mode="fast")


@given(seeds, st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple), st.data())
def test_derivatives_of_layer_norm_and_rms_norm(seed, shape, data):
    rng = np.random.default_rng(seed)
    features = shape[data.draw(st.integers(0, len(shape) - 1)) :]
    arrays = rng.normal(size=shape), rng.normal(size=features), rng.normal(size=features)
    function, given_arrays = with_some(
        data.draw, lambda x, *wb: F.layer_norm(x, features, *wb, eps=0.1), *arrays
    )
    assert gradcheck(function, *given_arrays, order=2, mode="fast")
    x, *weight = given_arrays[:2]
    assert gradcheck(lambda x, *w: F.rms_norm(x, features, *w, eps=0.1), x, *weight, order=2)


@given(inputs(min_dims=4), st.booleans())
def test_derivatives_of_instance_norm(arrays, use_input_stats):
    x = np.concatenate([arrays[0], arrays[0] ** 2], axis=-1)
    running = [Tensor(arrays[1]), Tensor(arrays[2] ** 2)]

    def norm(x, weight, bias):
        return F.instance_norm(x, *running, weight, bias, use_input_stats, 0.0, 0.1)

    assert gradcheck(norm, x, *arrays[1:], order=2, mode="fast")
    layer = nn.InstanceNorm2d(len(arrays[1]), 0.1, dtype=float)
    one = nn.InstanceNorm2d(len(arrays[1]), 0.1, affine=True, dtype=float)(x[0])
    np.testing.assert_allclose(layer(x).data[0], one.data, rtol=1e-12)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("axes", [(1,), (0, 2), ()])
def test_derivatives_in_every_entry_and_of_third_order(axes, centered):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 2, 3, 2))
    how = How(axes, 0.1, centered)
    assert gradcheck(lambda x: standardized(x, how)[0], x, order=2)

    def projected(g, x):
        z, scale, *_ = scores(x.data, how)
        return project(g, x, z, scale, how)

    assert gradcheck(projected, g, x, order=2)


# ------------------------------------------------------------------------------------ values


@given(inputs(min_dims=3))
def test_each_kind_is_standardized_along_its_axes(arrays):
    x = np.concatenate([arrays[0], arrays[0] ** 2], axis=-1)
    channels = x.shape[1]
    for out, grouped in (
        (nn.BatchNorm1d(channels, 0.0, dtype=float)(x[:, :, 0] if x.ndim > 3 else x), None),
        (nn.LayerNorm(x.shape[-1], 0.0, dtype=float)(x), lambda z: z.reshape(-1, x.shape[-1])),
        (nn.GroupNorm(1, channels, 0.0, dtype=float)(x), lambda z: z.reshape(len(x), -1)),
    ):
        z = out.data
        rows = np.moveaxis(z, 1, 0).reshape(channels, -1) if grouped is None else grouped(z)
        np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-9)
        np.testing.assert_allclose(rows.var(axis=1), 1, rtol=1e-9)


def test_rms_norm_has_the_epsilon_of_its_dtype():
    for dtype in np.float32, np.float64:
        x = np.array([1e-4, -1e-4], dtype)
        out = F.rms_norm(x, 2).data
        assert out.dtype == dtype
        expected = x / np.sqrt(np.mean(x.astype(float) ** 2) + np.finfo(dtype).eps)
        np.testing.assert_allclose(out, expected, rtol=1e-6)


# ------------------------------------------------------------------------- running statistics


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, None])
def test_running_statistics(momentum):
    norm = nn.BatchNorm2d(3, momentum=momentum, dtype=float)
    batches = np.random.default_rng(0).normal(size=(4, 5, 3, 2, 2)) + 2
    mean, var = np.zeros(3), np.ones(3)
    for number, batch in enumerate(batches, 1):
        share = 1 / number if momentum is None else momentum
        mean = (1 - share) * mean + share * batch.mean(axis=(0, 2, 3))
        var = (1 - share) * var + share * batch.var(axis=(0, 2, 3), ddof=1)
        norm(batch)
        np.testing.assert_allclose(norm.running_mean.data, mean, rtol=1e-12)
        np.testing.assert_allclose(norm.running_var.data, var, rtol=1e-12)
        assert norm.num_batches_tracked.item() == number
    norm.eval()
    before = norm.state_dict()
    norm(batches[0])
    assert all(np.array_equal(before[name], value) for name, value in norm.state_dict().items())


def test_running_statistics_of_instances():
    norm = nn.InstanceNorm1d(2, 0.1, 0.25, True, True, dtype=float)
    norm.weight.data[:], norm.bias.data[:] = [2, 3], [5, 7]
    x = np.random.default_rng(0).normal(size=(3, 2, 5)) + 2
    in_training = norm(x).data
    mean = 0.25 * x.mean(axis=2).mean(axis=0)
    var = 0.75 + 0.25 * x.var(axis=2, ddof=1).mean(axis=0)
    np.testing.assert_allclose(norm.running_mean.data, mean, rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.data, var, rtol=1e-12)
    assert norm.num_batches_tracked.item() == 0  # as in PyTorch
    rest, root = x - x.mean(axis=2)[..., None], np.sqrt(x.var(axis=2)[..., None] + 0.1)
    np.testing.assert_allclose(in_training, rest / root * [[2], [3]] + [[5], [7]], rtol=1e-12)
    expected = (x - mean[:, None]) / np.sqrt(var[:, None] + 0.1) * [[2], [3]] + [[5], [7]]
    for _ in range(2):  # and nothing is updated
        np.testing.assert_allclose(norm.eval()(x).data, expected, rtol=1e-12)
    np.testing.assert_allclose(norm(x[0]).data, expected[0], rtol=1e-12)


def test_state_dicts_have_pytorchs_names_shapes_and_dtypes():
    assert {
        name: (value.shape, value.dtype.name)
        for name, value in nn.BatchNorm1d(3).state_dict().items()
    } == {
        "weight": ((3,), "float32"),
        "bias": ((3,), "float32"),
        "running_mean": ((3,), "float32"),
        "running_var": ((3,), "float32"),
        "num_batches_tracked": ((), "int64"),
    }
    assert list(nn.LayerNorm((2, 3)).state_dict()) == ["weight", "bias"]
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert list(nn.GroupNorm(1, 2).state_dict()) == ["weight", "bias"]
    assert list(nn.RMSNorm(3).state_dict()) == ["weight"]
    assert list(nn.InstanceNorm2d(3).state_dict()) == []
    with_all = nn.InstanceNorm3d(3, affine=True, track_running_stats=True).state_dict()
    assert list(with_all) == list(nn.BatchNorm3d(3).state_dict())
    assert list(nn.BatchNorm2d(3, affine=False, track_running_stats=False).state_dict()) == []


def test_a_restored_net_predicts_the_same():
    x = np.random.default_rng(0).normal(size=(6, 2, 4)).astype(np.float32)
    norm = nn.BatchNorm1d(2)
    for _ in range(3):
        norm(x)
    other = nn.BatchNorm1d(2)
    other.load_state_dict(norm.state_dict())
    copied = copy.deepcopy(norm)
    assert other.eval()(x).data.tobytes() == norm.eval()(x).data.tobytes()
    assert copied.eval()(x).data.tobytes() == norm(x).data.tobytes()


def test_a_graph_outlives_the_next_update_of_the_statistics():
    norm = nn.BatchNorm1d(2, dtype=float)
    x = Tensor(np.random.default_rng(0).normal(size=(4, 2)), requires_grad=True)
    first = norm(x)
    evaluated = norm.eval()(x)
    norm.train()(x)
    (first.sum() + evaluated.sum()).backward()
    assert x.grad.shape == x.shape


def test_a_refused_batch_changes_nothing():
    norm = nn.BatchNorm1d(2)
    for x in np.ones((1, 2)), np.ones((0, 2)), np.ones((4, 3)), np.ones(2):
        with pytest.raises(ValueError, match=r"batch_norm|BatchNorm1d"):
            norm(x)
    assert norm.num_batches_tracked.item() == 0
    assert norm.running_mean.tolist() == [0, 0]
    assert norm.eval()(np.ones((1, 2))).shape == (1, 2)
    assert norm(np.ones((0, 2))).shape == (0, 2)


# ------------------------------------------------------------------------------------- dtypes

LAYERS = {
    "BatchNorm1d": lambda dtype: nn.BatchNorm1d(4, dtype=dtype),
    "BatchNorm1d, evaluation": lambda dtype: nn.BatchNorm1d(4, dtype=dtype).eval(),
    "LayerNorm": lambda dtype: nn.LayerNorm((4, 300), dtype=dtype),
    "GroupNorm": lambda dtype: nn.GroupNorm(2, 4, dtype=dtype),
    "RMSNorm": lambda dtype: nn.RMSNorm(300, dtype=dtype),
    "InstanceNorm1d": lambda dtype: nn.InstanceNorm1d(4, affine=True, dtype=dtype),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LAYERS)
def test_dtypes_are_kept_and_sums_lose_no_digits(name, dtype):
    rng = np.random.default_rng(0)
    x = Tensor((rng.normal(size=(40, 4, 300)) * 50 + 20).astype(dtype), requires_grad=True)
    exact = Tensor(x.data.astype(float), requires_grad=True)
    g = rng.normal(size=x.shape).astype(dtype)
    layer, exact_layer = LAYERS[name](dtype), LAYERS[name](float)
    layer(x).backward(g)
    exact_layer(exact).backward(g.astype(float))
    pairs = [(layer(x).data, exact_layer(exact).data), (x.grad, exact.grad)]
    pairs += zip(
        [p.grad for p in layer.parameters()],
        [p.grad for p in exact_layer.parameters()],
        strict=True,
    )
    eps = max(float(np.finfo(dtype).eps), float(np.finfo(float).eps))
    for found, expected in pairs:
        assert found.dtype == dtype
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found.astype(float), expected, rtol=0, atol=30 * eps * scale)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_running_statistics_far_from_zero_lose_no_digits(dtype):
    rng = np.random.default_rng(0)
    x, g = rng.normal(1000, 1, (50, 1)).astype(dtype), rng.normal(size=(50, 1)).astype(dtype)
    mean, var = np.array([1000], dtype), np.array([1], dtype)

    def results(dtype):
        weight, bias = (Tensor(np.ones(1, dtype), requires_grad=True) for _ in range(2))
        running = Tensor(mean.astype(dtype)), Tensor(var.astype(dtype))
        out = F.batch_norm(x.astype(dtype), *running, weight, bias)
        out.backward(g.astype(dtype))
        return out.data, weight.grad

    for found, expected in zip(results(dtype), results(float), strict=True):
        np.testing.assert_allclose(found, expected, atol=32 * np.finfo(dtype).eps)


def test_long_sums_in_float32_lose_no_digits():
    x = np.full((5000, 3), 0.1, np.float32)
    assert total((0,), x).dtype == np.float32
    np.testing.assert_allclose(total((0,), x), 5000 * x[:1].astype(float), rtol=1e-7)
    np.testing.assert_allclose(total((0, 1), x), 15000 * x[:1, :1].astype(float), rtol=1e-6)


def test_layouts_in_memory_do_not_matter():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    for layer in nn.BatchNorm2d(4, dtype=float), nn.GroupNorm(2, 4, dtype=float):
        expected = layer(x).data
        for axes in (1, 2, 3, 0), (0, 2, 3, 1):
            scattered = np.transpose(np.array(np.transpose(x, axes), order="C"), np.argsort(axes))
            np.testing.assert_allclose(layer(scattered).data, expected, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------- compile, and dropout's masks


def net_of(dtype=np.float32, momentum=0.1):
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, dtype=dtype, rng=rng),
        nn.BatchNorm2d(4, momentum=momentum, dtype=dtype), nn.ReLU(), nn.MaxPool2d(2),
        nn.InstanceNorm2d(4, momentum=0.3, track_running_stats=True, dtype=dtype),
        nn.Dropout2d(0.3, rng=rng), nn.GroupNorm(2, 4, dtype=dtype), nn.Flatten(),
        nn.LayerNorm(36, dtype=dtype), nn.RMSNorm(36, dtype=dtype),
        nn.Linear(36, 3, dtype=dtype, rng=rng),
    )  # fmt: skip


@pytest.mark.parametrize("momentum", [0.1, None])
def test_compiled_steps_have_the_same_bits(momentum):
    def make():
        net = net_of(momentum=momentum)
        optimizer = optim.Adam(net.parameters(), lr=0.01)

        def step(x):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), [0, 2, 1, 0])
            loss.backward()
            optimizer.step()
            return loss

        return net, step

    (eager, eager_step), (net, step) = make(), make()
    step = compile(step)
    for number in range(5):
        x = np.random.default_rng(number).normal(size=(4, 2, 6, 6)).astype(np.float32)
        assert step(x).data.tobytes() == eager_step(x).data.tobytes()
        for name, value in eager.state_dict().items():
            assert net.state_dict()[name].tobytes() == value.tobytes()
    assert len(step.traces) == 1
    assert step.eager_calls == 0


def test_gradients_with_dropouts_masks_held():
    net = net_of(float)
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 6))
    assert gradcheck(nn.DropoutMasks().hold(net), x, order=1, mode="fast")


# ------------------------------------------------------------------------------------- misuse


def test_reprs_are_pytorchs():
    assert [
        repr(layer)
        for layer in (
            nn.BatchNorm2d(3), nn.BatchNorm1d(3, 0.1, None, False, False), nn.LayerNorm(4),
            nn.LayerNorm((2, 3)), nn.GroupNorm(2, 4), nn.RMSNorm(4), nn.InstanceNorm1d(3),
        )
    ] == [
        "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)",
        "BatchNorm1d(3, eps=0.1, momentum=None, affine=False, bias=False, "
        "track_running_stats=False)",
        "LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)",
        "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=True)",
        "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)",
        "RMSNorm((4,), eps=None, elementwise_affine=True)",
        "InstanceNorm1d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, "
        "track_running_stats=False)",
    ]  # fmt: skip


X = np.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.BatchNorm2d(3)(np.ones((2, 3, 4))), "expected 4 axes"),
        (lambda: nn.BatchNorm2d(3)(np.ones((3, 4, 4))), "x[None]"),
        (lambda: nn.BatchNorm2d(3)(np.ones((2, 4, 4, 3))), "moveaxis(x, -1, 1)"),
        (lambda: nn.BatchNorm1d(3)(np.ones((1, 3))), "eval()"),
        (lambda: nn.BatchNorm1d(0), "at least 1"),
        (lambda: nn.BatchNorm1d(3, eps=-1.0), "eps"),
        (lambda: nn.BatchNorm1d(3, momentum=2), "from 0 to 1"),
        (lambda: nn.GroupNorm(2, 3), "must divide its 3 channels"),
        (lambda: nn.GroupNorm(2, 4)(np.ones((2, 6, 3))), "expected 4 channels"),
        (lambda: F.group_norm(np.ones((2, 6)), 4), "must divide"),
        (lambda: F.group_norm(np.ones(6), 3), "(n, channels, ...)"),
        (lambda: nn.LayerNorm(3)(np.ones((2, 4))), "expected (..., 3)"),
        (lambda: nn.LayerNorm((2, 3))(np.ones(3)), "expected (..., 2, 3)"),
        (lambda: nn.RMSNorm(())(np.ones(3)), "at least 1"),
        (lambda: F.layer_norm(np.ones((2, 4)), 4, np.ones(1)), "one number for each feature"),
        (lambda: F.layer_norm(np.ones((2, 4)), 4, np.ones(4), np.ones((1, 4))), "bias of shape"),
        (lambda: nn.InstanceNorm2d(3)(np.ones((2, 3, 1, 1))), "more than one element"),
        (lambda: nn.InstanceNorm1d(3)(np.ones((3, 4))[None, None]), "expected 2 or 3 axes"),
        (lambda: F.instance_norm(np.ones((2, 3))), "(n, channels, length, ...)"),
        (lambda: F.instance_norm(np.ones((2, 3, 1))), "more than one element"),
        (lambda: F.instance_norm(np.ones((2, 3, 2)), Tensor(np.ones(3))), "both"),
        (lambda: F.instance_norm(X, use_input_stats=False), "use_input_stats=True"),
        (lambda: F.instance_norm(X, None, None, np.ones(1)), "one number for each channel"),
        (lambda: F.local_response_norm(np.ones((2, 3)), 3), "(n, channels, length, ...)"),
        (lambda: nn.LocalResponseNorm(0), "at least 1"),
        (lambda: F.batch_norm(np.ones((2, 3)), None, None), "training=True"),
        (lambda: F.batch_norm(np.ones((2, 3)), Tensor(np.ones(3)), None), "both"),
        (lambda: F.batch_norm(np.ones((2, 3)), *[Tensor(np.ones(2))] * 2), "one number for each"),
        (lambda: F.batch_norm(np.ones((2, 3)), None, None, np.ones(2), training=True), "weight"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_mend(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: nn.BatchNorm1d(3.0),
        lambda: nn.BatchNorm1d(3, eps="small"),
        lambda: nn.BatchNorm1d(3, momentum="0.1"),
        lambda: nn.BatchNorm1d(3, affine=1),
        lambda: nn.InstanceNorm1d(3, 0.1, True),
        lambda: nn.InstanceNorm1d(3, momentum=None),
        lambda: nn.LayerNorm(2.5),
        lambda: nn.LayerNorm(3, bias=None),
        lambda: nn.LayerNorm(3)(np.ones((2, 3), int)),
        lambda: F.batch_norm(np.ones((2, 3)), np.zeros(3), np.ones(3), training=True),
    ],
)
def test_options_of_another_type_are_refused(call):
    with pytest.raises(TypeError):
        call()

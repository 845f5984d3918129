"""Initial values: what they are, that they are drawn as PyTorch draws them, misuse."""

import math

import numpy as np
import pytest

from microgrand import Tensor, manual_seed, nn
from microgrand.nn import init

SHAPE = (40, 30, 5)
#: The standard deviation that each function gives a weight of this shape, and whether uniformly.
DEVIATIONS = {
    "uniform_": (init.uniform_, (-1, 1), math.sqrt(1 / 3), True),
    "normal_": (init.normal_, (0.0, 0.5), 0.5, False),
    "xavier_uniform_": (init.xavier_uniform_, (2.0,), 2 * math.sqrt(2 / 350), True),
    "xavier_normal_": (init.xavier_normal_, (), math.sqrt(2 / 350), False),
    "kaiming_uniform_": (init.kaiming_uniform_, (), math.sqrt(2 / 150), True),
    "kaiming_uniform_, a": (init.kaiming_uniform_, (1.0,), math.sqrt(1 / 150), True),
    "kaiming_normal_": (init.kaiming_normal_, (0, "fan_out"), math.sqrt(2 / 200), False),
    "kaiming_normal_, tanh": (
        init.kaiming_normal_, (0, "fan_in", "tanh"), 5 / 3 / math.sqrt(150), False
    ),
}  # fmt: skip


def drawn(function, *args, shape=SHAPE, dtype=float):
    weight = nn.Parameter(np.full(shape, np.nan), dtype=dtype)
    assert function(weight, *args, generator=np.random.default_rng(0)) is weight
    assert weight.requires_grad
    assert weight.dtype == dtype
    return weight.data


@pytest.mark.parametrize("name", DEVIATIONS)
def test_mean_and_deviation(name):
    function, args, deviation, is_uniform = DEVIATIONS[name]
    values = drawn(function, *args)
    assert abs(values.mean()) < 4 * deviation / math.sqrt(values.size)
    assert abs(values.std() / deviation - 1) < 4 / math.sqrt(values.size)
    assert (np.abs(values).max() <= deviation * math.sqrt(3)) == is_uniform


def test_the_librarys_generator_draws_by_default_and_float32_is_rounded_float64():
    weight = nn.Parameter(np.zeros((3, 4), np.float32))
    manual_seed(3)
    first = init.xavier_normal_(weight).data
    manual_seed(3)
    np.testing.assert_array_equal(init.xavier_normal_(weight).data, first)
    assert (init.xavier_normal_(weight).data != first).any()
    rounded = drawn(init.normal_).astype(np.float32)
    np.testing.assert_array_equal(drawn(init.normal_, dtype=np.float32), rounded)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [(0, 1, -2, 2), (0, 0.02, -2, 2), (1, 2, 0, 1.5), (0, 1, 5, 6), (0, 1, 8, 1e9), (0, 1, -9, -8)],
)
def test_truncated_normal_numbers(mean, std, a, b):
    values = drawn(init.trunc_normal_, mean, std, a, b, shape=(20000,))
    assert (values >= a).all()
    assert (values <= b).all()
    # The mean of the distribution by quadrature.
    low, high = max(a, mean - 12 * std), min(b, mean + 12 * std)
    x = np.linspace(low, high, 100_001)
    density = np.exp(-np.square((x - mean) / std) / 2)
    expected = (x * density).sum() / density.sum()
    spread = math.sqrt((np.square(x - expected) * density).sum() / density.sum())
    assert abs(values.mean() - expected) < 4 * spread / math.sqrt(values.size)
    assert abs(values.std() / spread - 1) < 0.03


def test_constants():
    weight = nn.Parameter(np.empty((2, 3), np.float32))
    assert (init.constant_(weight, 0.5).data == 0.5).all()
    assert (init.ones_(weight).data == 1).all()
    assert (init.zeros_(weight).data == 0).all()
    np.testing.assert_array_equal(init.eye_(weight).data, np.eye(2, 3))
    kernel = init.dirac_(nn.Parameter(np.empty((4, 2, 3))), groups=2).data
    expected = np.zeros((4, 2, 3))
    expected[[0, 1, 2, 3], [0, 1, 0, 1], 1] = 1
    np.testing.assert_array_equal(kernel, expected)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (3, 2, 2), (6, 2, 2)])
def test_orthogonal_matrices(shape):
    matrix = drawn(init.orthogonal_, 2.0, shape=shape).reshape(shape[0], -1)
    product = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-14)


def test_sparse_matrices():
    matrix = drawn(init.sparse_, 0.25, 2.0, shape=(30, 50))
    assert (np.count_nonzero(matrix == 0, axis=0) == 8).all()
    assert abs(matrix[matrix != 0].std() - 2) < 0.2


def test_gains_are_pytorchs():
    for name, gain in [("linear", 1), ("conv2d", 1), ("sigmoid", 1), ("tanh", 5 / 3)]:
        assert init.calculate_gain(name) == gain
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("selu") == 0.75
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert init.calculate_gain("leaky_relu", 2) == math.sqrt(2 / 5)


def test_a_loss_from_before_is_out_of_date():
    layer = nn.Linear(2, 2)
    loss = np.sum(np.square(layer(np.ones(2))))
    init.zeros_(layer.weight)
    with pytest.raises(RuntimeError, match="changed"):
        loss.backward()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: init.zeros_(np.zeros(3)), TypeError, "nn.Parameter"),
        (lambda: init.zeros_(Tensor([1, 2])), TypeError, "int64"),
        (lambda: init.zeros_(nn.Parameter([1.0]) * 2), TypeError, "computed"),
        (lambda: init.eye_(nn.Parameter([1.0])), ValueError, r"matrices, got shape \(1,\)"),
        (lambda: init.xavier_normal_(nn.Parameter([1.0])), ValueError, "at least two axes"),
        (lambda: init.orthogonal_(nn.Parameter([1.0])), ValueError, "at least two axes"),
        (lambda: init.dirac_(nn.Parameter([[1.0]])), ValueError, "3 to 5 axes"),
        (lambda: init.dirac_(nn.Parameter([[[1.0]]]), groups=2), ValueError, "divide"),
        (lambda: init.calculate_gain("gelu"), ValueError, "'relu'"),
        (lambda: init.kaiming_normal_(nn.Parameter([[1.0]]), mode="fan"), ValueError, "fan_out"),
        (lambda: init.trunc_normal_(nn.Parameter([1.0]), a=2, b=1), ValueError, "a < b"),
        (lambda: init.trunc_normal_(nn.Parameter([1.0]), std=0), ValueError, "positive"),
        (lambda: init.sparse_(nn.Parameter([[1.0]]), 2), ValueError, "from 0 to 1"),
        (lambda: init.normal_(nn.Parameter([1.0]), generator=0), TypeError, "Generator"),
    ],
)
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()

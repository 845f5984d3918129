"""`detect_anomaly`: where a nan or an infinity first appears, forward and backward."""

import threading

import numpy as np
import pytest
from helpers import leaf, make

import microgrand
from microgrand import Tensor, detect_anomaly, engine, grad, nn, no_grad, value_and_grad
from microgrand.nn import functional as F

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def line_of(function):
    """File and line of a function that is one line long."""
    return f"{__file__}:{function.__code__.co_firstlineno}"


FORWARD = {
    "np.log": (lambda x: np.log(x - 2).sum(), "nan"),
    "np.divide": (lambda x: (1 / (x - 1)).sum(), "inf"),
    "np.exp": (lambda x: np.exp(x * 1000).sum(), "inf"),
    "np.sqrt": (lambda x: np.sqrt(-x).mean(), "nan"),
    "np.subtract": (lambda x: (x * np.array([np.inf, 1]) - np.inf).sum(), "nan"),
}


@pytest.mark.parametrize("name", FORWARD)
def test_forward(name):
    function, kind = FORWARD[name]
    with detect_anomaly(), pytest.raises(FloatingPointError) as raised:
        function(leaf(1.0, 2.0))
    assert str(raised.value).startswith(f"{name} gave {kind} for arguments of ")
    assert f"in the call at {line_of(function)};" in str(raised.value)


BACKWARD = {
    "np.sqrt": (lambda x: np.sqrt(x - 1).sum(), "inf"),
    "np.power": (lambda x: ((x - 1) ** 0.5).sum(), "inf"),
    "microgrand.nn.linear.affine": (lambda x: F.linear(x * 0, [[1e200, 1.0]]).sum() * 1e200, "inf"),
}


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize("retain_graph", [False, True])
def test_backward(name, retain_graph):
    function, kind = BACKWARD[name]
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        loss = function(x)
        with pytest.raises(FloatingPointError) as raised:
            loss.backward(retain_graph=retain_graph)
    assert str(raised.value).startswith(f"the VJP of {name} gave {kind} for argument 0 of the call")
    assert f"at {line_of(function)};" in str(raised.value)
    assert x.grad is None


def test_the_guilty_one_of_several_uses_is_named():
    x = leaf(0.0, 1.0)
    with detect_anomaly():
        y = x * 1
        for loss in (
            (y * 3 + np.sqrt(y) + y * y).sum(),
            (np.sqrt(y) + y * 3).sum(),
            np.power(y, np.sqrt(y) * 0 + 0.5).sum(),
        ):
            with pytest.raises(FloatingPointError, match=r"VJP of np\.(sqrt|power) gave"):
                loss.backward()
    left, right = (make(lambda x: x + 0, lambda g, out, x: g * 1e308) for _ in range(2))
    with detect_anomaly():
        loss = (left(x) + right(x)).sum()
        with pytest.raises(FloatingPointError, match="several uses of a value added up to inf"):
            loss.backward()


def test_what_the_user_gave_is_told_apart():
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        with pytest.raises(FloatingPointError, match=r"argument 1 of np\.multiply holds nan.*data"):
            x * np.array([1.0, np.nan])
        with pytest.raises(FloatingPointError, match="began with a gradient that holds nan"):
            (x * 2).backward([np.nan, 1.0])
    loss = np.sqrt(x - 1).sum()
    with detect_anomaly(), pytest.raises(FloatingPointError, match=r"np\.sqrt.*a line outside"):
        loss.backward()


def test_masked_scores_are_no_anomaly():
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        np.exp(np.where([True, False], x, -np.inf)).sum().backward()
        with no_grad():
            np.log(x - 1)
    np.testing.assert_array_equal(x.grad, [np.e, 0])


def test_training_is_as_without():
    def train():
        microgrand.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2))
        for _ in range(3):
            F.cross_entropy(net(np.eye(3)), [0, 1, 0]).backward()
        return [p.grad for p in net.parameters()]

    expected = train()
    with detect_anomaly():
        for gradient, same in zip(train(), expected, strict=True):
            np.testing.assert_array_equal(gradient, same)


def test_transforms_and_higher_orders():
    with detect_anomaly():
        assert grad(grad(lambda x: x**3))(2.0) == 12
        with pytest.raises(FloatingPointError, match=r"np\.sqrt gave inf"):
            value_and_grad(np.sqrt)(0.0)
        with pytest.raises(FloatingPointError, match=f"at {__file__}"):
            grad(grad(lambda x: x**1.5))(0.0)


def test_blocks_nest_and_decorate():
    @detect_anomaly()
    def compute(x):
        return np.log(x)

    x = leaf(-1.0)
    with detect_anomaly():
        with detect_anomaly():
            np.exp(x)
        with pytest.raises(FloatingPointError):
            np.log(x)
    with pytest.raises(FloatingPointError):
        compute(x)
    assert np.isnan(np.log(x).data).all()
    assert engine.on_record is None
    assert engine.observer.get() is None


def test_other_threads_are_left_alone():
    results = []

    def compute():
        x = leaf(0.0)
        np.sqrt(x).sum().backward()
        results.append((np.log(-1 - x).data, x.grad))

    with detect_anomaly():
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
        with pytest.raises(FloatingPointError):
            np.log(leaf(-1.0))
    (value, gradient) = results[0]
    assert np.isnan(value).all()
    assert np.isinf(gradient).all()


def test_nothing_is_kept_after_a_pass():
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        watch = engine.observer.get()
        for _ in range(3):
            (np.exp(x) * np.sin(x) + 1.0).sum().backward()
            assert len(watch.users) == 0


def test_complex_numbers_and_integers_are_looked_at():
    x = Tensor([0.0, 1.0], requires_grad=True)
    with detect_anomaly():
        assert np.abs(x * 1j + np.arange(2)).sum().item() > 0
        with pytest.raises(FloatingPointError, match="gave"):
            1 / (x * 1j)

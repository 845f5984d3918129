"""Schedules of the drop probability."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microgrand import nn

PROBABILITIES = st.floats(0, 1)
LENGTHS = st.integers(0, 50)


@given(
    st.sampled_from([nn.linear_schedule, nn.cosine_schedule]),
    PROBABILITIES, PROBABILITIES, LENGTHS, LENGTHS,
)  # fmt: skip
@example(nn.linear_schedule, 0.0, 0.5, 0, 3)
def test_a_schedule_goes_monotonically_from_start_to_stop(make, start, stop, steps, delay):
    schedule = make(start, stop, steps, delay)
    values = np.array([schedule(step) for step in range(delay + steps + 5)])
    assert (values[:delay] == start).all()
    if steps:
        assert values[delay] == start
    assert (values[delay + steps :] == stop).all()
    changes = np.diff(values) * np.sign(stop - start)
    assert (changes >= -1e-15).all()
    assert values.min() >= min(start, stop)
    assert values.max() <= max(start, stop)
    # Half way it is half way.
    assert schedule(delay + steps / 2) == pytest.approx(
        (start + stop) / 2 if steps else stop, abs=1e-12
    )


def test_the_curves():
    assert nn.linear_schedule(0, 1, 4)(1) == 0.25
    assert nn.cosine_schedule(0, 1, 3)(1) == pytest.approx(0.25)
    linear, cosine = nn.linear_schedule(0.1, 0.9, 8, 2), nn.cosine_schedule(0.1, 0.9, 8, 2)
    for step in range(12):
        t = min(max((step - 2) / 8, 0), 1)
        assert linear(step) == pytest.approx(0.1 + 0.8 * t)
        assert cosine(step) == pytest.approx(0.1 + 0.8 * math.sin(math.pi * t / 2) ** 2)


@given(PROBABILITIES, st.integers(1, 1000))
def test_a_curriculum(p, steps):
    schedule = nn.curriculum_schedule(p, steps)
    values = np.array([schedule(step) for step in range(0, 2 * steps, max(steps // 20, 1))])
    assert values[0] == 0
    assert (np.diff(values) >= 0).all()
    assert values.max() <= p
    assert schedule(steps) == pytest.approx(p, rel=1e-4)
    assert schedule(steps / 10) == pytest.approx(p * (1 - 1 / math.e))


def test_set_dropout_reaches_all_kinds():
    net = nn.Sequential(
        nn.Dropout(), nn.Sequential(nn.Dropout1d(), nn.DropConnect(2, 2)), nn.GaussianDropout(),
        nn.AlphaDropout(), nn.DropPath(), nn.WordDropout(), nn.ReLU(), nn.Linear(2, 2),
    )  # fmt: skip
    nn.set_dropout(net, 0.125)
    assert {module.p for module in net.modules() if hasattr(module, "p")} == {0.125}
    nn.set_dropout(net[1], 0.25)
    assert (net[0].p, net[1][0].p, net[1][1].p) == (0.125, 0.25, 0.25)
    # All or nothing: Gaussian dropout has no p = 1.
    with pytest.raises(ValueError, match="less than 1"):
        nn.set_dropout(net, 1)
    assert (net[0].p, net[1][0].p) == (0.125, 0.25)
    with pytest.raises(ValueError, match="keep_prob"):
        nn.set_dropout(net, -1)


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda: nn.linear_schedule(-0.1, 0, 5), ValueError, "keep_prob"),
        (lambda: nn.cosine_schedule(0, "1", 5), TypeError, "keep_prob"),
        (lambda: nn.linear_schedule(0, 1, 5.0), TypeError, "steps must be an integer"),
        (lambda: nn.linear_schedule(0, 1, -1), ValueError, "steps must be at least 0, got -1"),
        (lambda: nn.cosine_schedule(0, 1, 5, -1), ValueError, "delay must be at least 0"),
        (lambda: nn.curriculum_schedule(0.5, 0), ValueError, "steps must be at least 1"),
        (lambda: nn.curriculum_schedule(2, 5), ValueError, "keep_prob"),
        (lambda: nn.linear_schedule(0, 1, 5)(-1), ValueError, "steps taken so far, got -1"),
        (lambda: nn.curriculum_schedule(0.5, 5)(math.nan), ValueError, "steps taken so far"),
        (lambda: nn.set_dropout(nn.Linear(2, 2), 0.5), ValueError, "no dropout layer in Linear"),
        (lambda: nn.set_dropout([nn.Dropout()], 0.5), TypeError, "takes a module, got list"),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use()


@pytest.mark.parametrize("step", ["a", np.arange(3), None])
@pytest.mark.parametrize("schedule", [nn.linear_schedule(0, 1, 4), nn.curriculum_schedule(0.5, 4)])
def test_only_steps_are_accepted(schedule, step):
    with pytest.raises(TypeError, match="number of steps taken so far"):
        schedule(step)

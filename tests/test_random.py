"""The library's generator: one seed gives the same parameters and masks."""

import numpy as np
import pytest

from microgrand import (
    manual_seed,
    nn,
)
from microgrand.nn import functional as F
from microgrand.random import default_generator


def test_one_seed_gives_the_same_parameters_and_masks():
    def draw(seed):
        assert manual_seed(seed) is default_generator
        net = nn.Sequential(nn.Linear(8, 8), nn.Dropout())
        return [net[0].weight.data, net[0].bias.data, net(np.ones((4, 8))).data, net[1].mask]

    for a, b, c in zip(draw(1), draw(1), draw(np.int64(2)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


@pytest.mark.parametrize(
    "seed", [-1, 1.0, None, True, "1", [1, 2], np.float64(1), default_generator]
)
def test_bad_seeds_are_refused_and_change_nothing(seed):
    manual_seed(0)
    expected = default_generator.random()
    manual_seed(0)
    with pytest.raises((TypeError, ValueError), match="non-negative integer"):
        manual_seed(seed)
    assert default_generator.random() == expected


def test_a_generator_of_its_own_leaves_the_librarys_untouched():
    manual_seed(0)
    expected = default_generator.random()
    manual_seed(0)
    rng = np.random.default_rng(5)
    net = nn.Sequential(nn.Linear(2, 3, rng=rng), nn.Dropout(rng=rng))
    net(np.ones((4, 2)))
    F.dropout(np.ones(3), rng=rng)
    assert default_generator.random() == expected
    again = nn.Linear(2, 3, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(net[0].weight.data, again.weight.data)

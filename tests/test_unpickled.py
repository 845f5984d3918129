"""Arrays that were unpickled: their dtypes are equal to others, but not the same objects."""

import numpy as np
import pytest
from helpers import FLOATS, by_pickle

from microgrand import Tensor, nn
from microgrand.engine import unbroadcast, wider
from microgrand.nn.inputs import as_tensor


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_fits_already_is_not_converted(dtype):
    array, other = np.ones((3, 2), dtype), by_pickle(np.ones((3, 2), dtype))
    assert array.dtype is not other.dtype
    for g, data in (array, other), (other, array):
        assert unbroadcast(g, data, np.add, 0) is g
        x = Tensor(g)
        assert as_tensor(x, data.dtype) is x
        assert wider(g.dtype, 10**6) == wider(data.dtype, 10**6)


@pytest.mark.parametrize("layer", [nn.Dropout, nn.DropPath, nn.AlphaDropout, nn.GaussianDropout])
def test_dropout_of_an_unpickled_array_takes_the_same_steps(layer, monkeypatch):
    casts = []
    monkeypatch.setattr(Tensor, "astype", lambda x, dtype: casts.append(dtype))
    results = []
    for data in np.ones((3, 2), np.float32), by_pickle(np.ones((3, 2), np.float32)):
        x = Tensor(data, requires_grad=True)
        out = layer(0.5, rng=np.random.default_rng(0))(x)
        out.sum().backward()
        results.append((out.data, x.grad))
    for value, other in zip(*results, strict=True):
        np.testing.assert_array_equal(value, other, strict=True)
    assert casts == []

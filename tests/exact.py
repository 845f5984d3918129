"""Arrays whose results compare without tolerance, and the comparison."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgrand import Tensor

X = np.array([[0.5, 1.5, 2.5], [3.5, 4.5, 5.5]], np.float32)


def elements(dtype):
    """Quarters, which every float dtype holds exactly: results compare without tolerance."""
    if dtype is bool:
        return st.booleans()
    whole = st.integers(-12, 12)
    return whole if np.dtype(dtype).kind == "i" else whole.map(lambda n: n / 4)


def arrays(dtypes=(np.float32, np.float64), min_side=0):
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=min_side, max_side=4)
    return st.sampled_from(dtypes).flatmap(
        lambda dtype: hnp.arrays(dtype, shapes, elements=elements(dtype), fill=st.nothing())
    )


def assert_same(result, expected, graph=None):
    """Compare value, dtype and shape; `graph` says whether the result must have a graph."""
    if isinstance(expected, (list, tuple)):
        assert type(result) is type(expected)
        assert len(result) == len(expected)
        for r, e in zip(result, expected, strict=True):
            assert_same(r, e, graph)
        return
    if graph is not None:
        assert isinstance(result, Tensor) == graph
    if isinstance(result, Tensor):
        assert result.requires_grad == bool(graph)
        result = result.detach().numpy()
    assert np.shape(result) == np.shape(expected)
    assert getattr(result, "dtype", type(result)) == getattr(expected, "dtype", type(expected))
    np.testing.assert_array_equal(result, expected)

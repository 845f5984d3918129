"""nn.utils.rnn.pad_sequence: its definition, gradients, compiled calls, misuse."""

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from device_array import DeviceArray
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, nn
from microgrand.nn.utils.rnn import pad_sequence
from microgrand.testing import gradcheck


@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    rest=st.sampled_from([(), (2,), (1, 3)]),
    dtype=st.sampled_from([np.int8, np.int64, np.float16, np.float64, bool]),
    side=st.sampled_from(["right", "left"]),
    batch_first=st.booleans(),
    as_tensors=st.booleans(),
)
def test_each_element_is_that_of_its_sequence_or_the_padding(
    lengths, rest, dtype, side, batch_first, as_tensors
):
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 2, (length, *rest)).astype(dtype) for length in lengths]
    given = [Tensor(x) for x in sequences] if as_tensors else sequences
    padded = pad_sequence(given, batch_first, padding_value=1, padding_side=side)
    is_tensor = as_tensors and np.dtype(dtype).kind == "f"
    assert isinstance(padded, Tensor) == is_tensor
    padded = padded.data if is_tensor else padded
    longest = max(lengths)
    assert padded.dtype == dtype
    assert padded.shape == (
        (len(lengths), longest, *rest) if batch_first else (longest, len(lengths), *rest)
    )
    for i, sequence in enumerate(sequences):
        row = padded[i] if batch_first else padded[:, i]
        missing = longest - len(sequence)
        begin = 0 if side == "right" else missing
        np.testing.assert_array_equal(row[begin : begin + len(sequence)], sequence)
        assert (np.delete(row, np.s_[begin : begin + len(sequence)], 0) == 1).all()


def test_gradients_reach_the_sequences():
    a, b = np.arange(6.0).reshape(3, 2), np.arange(2.0).reshape(1, 2)
    for side in "right", "left":

        def f(a, b, side=side):
            return pad_sequence([a, b], padding_value=2.0, padding_side=side) ** 3

        assert gradcheck(f, a, b, order=2)
        assert_runs_as_eager(lambda x, f=f: f(x, b), lambda i: a + i)


def test_lists_and_arrays_of_a_device():
    np.testing.assert_array_equal(pad_sequence([[1, 2], [3]], True), [[1, 2], [3, 0]])
    padded = pad_sequence([DeviceArray(np.ones(2)), DeviceArray(np.ones(1))])
    assert type(padded) is DeviceArray


def test_numbers_are_pytorchs():
    torch = pytest.importorskip("torch")
    sequences = [np.random.default_rng(n).normal(size=(n, 3)) for n in (4, 2, 5)]
    for options in {}, {"batch_first": True}, {"padding_value": 2.5, "padding_side": "left"}:
        theirs = torch.nn.utils.rnn.pad_sequence([torch.tensor(x) for x in sequences], **options)
        np.testing.assert_array_equal(pad_sequence(sequences, **options), theirs.numpy())


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda: pad_sequence(np.ones((2, 2))), TypeError, r"got one ndarray; .*\(\[a, b\]\)"),
        (lambda: pad_sequence(3), TypeError, "list of sequences, got one int"),
        (lambda: pad_sequence([]), ValueError, "got no sequences"),
        (lambda: pad_sequence([1.0]), ValueError, r"of shape \(length, ...\)"),
        (
            lambda: pad_sequence([np.ones((1, 2)), np.ones((1, 3))]),
            ValueError,
            r"\(1, 2\) and \(1, 3\).*positions 0 and 1; only the lengths",
        ),
        (lambda: pad_sequence([[1], [1.0]]), ValueError, "dtypes int64 and float64"),
        (lambda: pad_sequence([[1]], padding_value=0.5), ValueError, "0.5, and .* int64, which"),
        (lambda: pad_sequence([[1]], padding_value=np.nan), ValueError, "nan, and .* int64, which"),
        (lambda: pad_sequence([[1.0]], padding_value="0"), TypeError, "is a number, got '0'"),
        (lambda: pad_sequence([[1.0]], padding_side="up"), ValueError, "'right', 'left', got 'up'"),
        (lambda: pad_sequence([[1.0]], 1), TypeError, "batch_first is True or False"),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use()


def test_it_is_where_pytorchs_is():
    assert nn.utils.rnn.pad_sequence is pad_sequence

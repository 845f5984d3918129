"""Embeddings: the rows that are looked up, the sum of their cotangents, padding, misuse."""

import runpy

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from helpers import FLOATS
from hypothesis import given, settings
from hypothesis import strategies as st

from microgrand import Tensor, compile, grad, nn
from microgrand.nn import functional as F
from microgrand.testing import gradcheck
from microgrand.vjps.indexing import add_rows

seeds = st.integers(0, 2**32 - 1)


@st.composite
def lookups(draw):
    """Draw words, in an array of any shape, and vectors for a vocabulary."""
    rng = np.random.default_rng(draw(seeds))
    size = draw(st.integers(1, 6))
    shape = draw(st.lists(st.integers(0, 6), max_size=2).map(tuple))
    return rng.integers(0, size, shape), rng.normal(size=(size, draw(st.integers(1, 3))))


# -------------------------------------------------------------------------- derivatives


@settings(max_examples=12)
@given(lookups(), st.booleans())
def test_derivatives(case, with_padding):
    words, weight = case
    if with_padding:  # which has no part in the gradient, but in differences
        words = np.where(words == 0, len(weight), words)
        weight = np.concatenate([weight, weight[:1]])[: len(weight) + 1]
        shown = F.embedding(words, weight, padding_idx=-1)
        np.testing.assert_array_equal(shown.data, weight[words])
        words = np.where(words == len(weight) - 1, 0, words)
    padding = -1 if with_padding else None
    assert gradcheck(lambda w: F.embedding(words, w, padding), weight, order=2, mode="fast")


@settings(max_examples=40)
@given(seeds, st.sampled_from([1, 2, 5, 40]), st.integers(0, 100), st.booleans())
def test_rows_are_added_where_they_belong(seed, count, size, negative):
    rng = np.random.default_rng(seed)
    index = rng.integers(-count if negative else 0, count, (size // 2, 2))
    g = rng.integers(-9, 9, (*index.shape, 3)).astype(float)
    expected = np.zeros((count, 3))
    np.add.at(expected, index, g)
    np.testing.assert_array_equal(add_rows(g, index, count), expected)


def test_sums_of_float16_do_not_stick():
    weight = Tensor(np.zeros((2, 3), np.float16), requires_grad=True)
    np.sum(F.embedding(np.zeros(5000, int), weight)).backward()
    np.testing.assert_array_equal(weight.grad, [[5000] * 3, [0] * 3])


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_row_for_padding_gets_no_gradient(dtype):
    layer = nn.Embedding(4, 2, padding_idx=-4, dtype=dtype)
    out = layer([[0, 1, 1], [3, 0, 0]])
    assert out.dtype == dtype
    assert not out.data[0, 0].any()
    np.sum(out).backward()
    np.testing.assert_array_equal(layer.weight.grad, [[0, 0], [2, 2], [0, 0], [1, 1]])


def test_compiled_it_has_the_same_bits():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 5, 3)).astype(np.float32)
    words = rng.integers(0, 5, (4, 30))
    for padding in None, 2:

        def loss(weight, words, padding=padding):
            return np.sum(np.square(F.embedding(words, weight, padding)))

        assert_runs_as_eager(grad(loss), lambda i: weight[i], lambda i: words[i])


def test_its_compiled_program_can_be_saved(tmp_path):
    weight, words = np.arange(6.0).reshape(3, 2), np.array([0, 2, 2])
    program = compile(grad(lambda weight: np.sum(np.square(F.embedding(words, weight)))))
    for _ in range(3):
        expected = program(weight)
    program.save(tmp_path / "lookup.py")
    names = runpy.run_path(str(tmp_path / "lookup.py"))
    np.testing.assert_array_equal(names["step"](weight), expected)


# -------------------------------------------------------------------------------- modules


def test_the_module_is_pytorchs():
    layer = nn.Embedding(10, 3, padding_idx=0, rng=np.random.default_rng(0))
    assert repr(layer) == "Embedding(10, 3, padding_idx=0)"
    assert repr(nn.Embedding(10, 3)) == "Embedding(10, 3)"
    assert layer.weight.dtype == np.float32
    assert list(layer.state_dict()) == ["weight"]
    assert layer(Tensor(np.array([[1, 2]]))).shape == (1, 2, 3)
    assert layer([]).shape == (0, 3)
    assert abs(nn.Embedding(100, 100).weight.data.std() - 1) < 0.05


def test_pretrained_vectors_are_copied_and_frozen():
    vectors = np.ones((3, 2))
    layer = nn.Embedding.from_pretrained(vectors)
    vectors[:] = 0
    assert layer([1]).data.all()
    assert not layer.weight.requires_grad
    assert nn.Embedding.from_pretrained(vectors, freeze=False).weight.requires_grad


def test_one_hot_rows():
    np.testing.assert_array_equal(F.one_hot([[2, 0]]), [[[0, 0, 1], [1, 0, 0]]])
    assert F.one_hot(np.array([1], np.uint8), 300).shape == (1, 300)
    assert F.one_hot(Tensor(np.array([0]))).dtype == int
    assert F.one_hot([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: F.one_hot([2], 2), IndexError, "got 2, which is not a class.* here 1"),
        (lambda: F.one_hot([0, -1], 2), IndexError, "got -1, which is not a class"),
        (lambda: F.one_hot([-1]), IndexError, "classes are from 0$"),
        (lambda: F.one_hot([0.5]), TypeError, r"labels\.astype\(int\)"),
        (lambda: F.embedding([0.0], np.ones((2, 2))), TypeError, r"astype\(int\)"),
        (lambda: F.embedding([True], np.ones((2, 2))), TypeError, "integers"),
        (lambda: F.embedding([0, 2], np.ones((2, 2))), IndexError, "word 2 .* 0 to 1"),
        (lambda: F.embedding([-1], np.ones((2, 2))), IndexError, "word -1 .* 0 to 1"),
        (lambda: F.embedding([0], np.ones(2)), ValueError, "vocabulary, features"),
        (lambda: F.embedding([0], np.ones((2, 2), int)), TypeError, "floating-point"),
        (lambda: F.embedding([0], np.ones((2, 2)), 2), ValueError, "below 2"),
        (lambda: nn.Embedding(0, 2), ValueError, "num_embeddings"),
        (lambda: nn.Embedding(2, 2.0), TypeError, "embedding_dim"),
        (lambda: nn.Embedding(2, 2, padding_idx=0.5), TypeError, "padding_idx"),
        (lambda: nn.Embedding.from_pretrained([1.0]), ValueError, "vocabulary, features"),
    ],
)
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()

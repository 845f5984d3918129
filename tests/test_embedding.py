"""Embeddings: the rows that are looked up, the sum of their cotangents, padding, bags, misuse."""

import runpy

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from helpers import FLOATS
from hypothesis import given, settings
from hypothesis import strategies as st

from microgrand import Tensor, compile, grad, nn, optim
from microgrand.nn import functional as F
from microgrand.testing import gradcheck
from microgrand.vjps.indexing import add_rows

BAG = F.embedding_bag
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


# ------------------------------------------------------------------------- longest rows


@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_that_are_looked_up_are_shortened_in_the_weight(dtype):
    weight = Tensor(np.array([[3, 4], [0.3, 0.4], [6, 8], [0, 0]], dtype), requires_grad=True)
    out = F.embedding([0, 1, 3, 0], weight, max_norm=1.0)
    shown = np.array([[0.6, 0.8], [0.3, 0.4], [6, 8], [0, 0]], dtype)
    np.testing.assert_allclose(weight.data, shown, rtol=max(np.finfo(dtype).eps, 3e-8))
    np.testing.assert_array_equal(weight.data[[1, 2]], np.array([[0.3, 0.4], [6, 8]], dtype))
    np.testing.assert_array_equal(out.data, weight.data[[0, 1, 3, 0]])
    np.sum(out).backward()
    np.testing.assert_array_equal(weight.grad, [[2, 2], [1, 1], [0, 0], [1, 1]])


def test_a_graph_of_before_a_row_was_shortened_is_refused():
    weight = Tensor(np.full((2, 2), 3.0), requires_grad=True)
    first = F.embedding([0], weight)
    F.embedding([0], weight, max_norm=9.0)  # which is long enough
    np.sum(first).backward()
    first = F.embedding([0], weight)
    F.embedding([1], weight, max_norm=1.0)
    with pytest.raises(RuntimeError, match="changed in place after the call"):
        np.sum(first).backward()


def test_compiled_steps_shorten_rows_as_eager_ones():
    def made():
        layer = nn.Embedding(6, 3, max_norm=0.5, rng=np.random.default_rng(0))
        optimizer = optim.SGD(layer.parameters(), lr=0.1)

        def step(words):
            optimizer.zero_grad()
            np.sum(np.square(layer(words))).backward()
            optimizer.step()

        return layer, step

    (eager, one), (other, step) = made(), made()
    compiled = compile(step)
    for seed in range(5):
        words = np.random.default_rng(seed).integers(0, 6, 4)
        one(words)
        compiled(words)
        np.testing.assert_array_equal(eager.weight.data, other.weight.data)
    assert compiled.eager_calls == 0


# --------------------------------------------------------------------------------- bags


@settings(max_examples=20)
@given(lookups(), st.sampled_from(["sum", "mean", "max"]), st.booleans(), st.data())
def test_derivatives_of_bags(case, mode, with_padding, data):
    words, weight = case
    words = words.ravel()
    weight = np.arange(weight.size).reshape(weight.shape) / 4 + weight / 20  # no ties
    inner = data.draw(st.lists(st.integers(0, len(words)), max_size=3))
    offsets = [0, *sorted(inner)]
    padding = 0 if with_padding else None
    bags = [words[a:b] for a, b in zip(offsets, [*offsets[1:], len(words)], strict=True)]
    bags = [bag[bag != 0] if with_padding else bag for bag in bags]
    found = F.embedding_bag(words, weight, offsets, mode=mode, padding_idx=padding)
    reduce = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
    blank = np.zeros(weight.shape[1])
    expected = [reduce(weight[bag], axis=0) if len(bag) else blank for bag in bags]
    np.testing.assert_allclose(found.data, expected, rtol=1e-12)
    distinct = np.unique(words) if mode == "max" else words  # a word that comes twice is a tie
    offsets = [0] if mode == "max" else offsets

    def f(weight):
        return np.square(F.embedding_bag(distinct, weight, offsets, mode=mode))

    assert gradcheck(f, weight, order=2, mode="fast")


def test_words_of_a_bag_may_have_factors():
    words, weight = [[0, 1], [1, 1]], np.array([[1.0, 2.0], [3.0, 4.0]])
    factors = np.array([[2.0, 0.5], [1.0, -1.0]])

    def f(weight, factors):
        return F.embedding_bag(words, weight, mode="sum", per_sample_weights=factors)

    np.testing.assert_array_equal(f(weight, factors).data, [[3.5, 6], [0, 0]])
    assert gradcheck(f, weight, factors, order=2)


def test_bags_of_equal_maxima_share_and_empty_bags_are_zero():
    weight = Tensor(np.zeros((3, 2)), requires_grad=True)
    np.sum(F.embedding_bag([[0, 1]], weight, mode="max")).backward()
    np.testing.assert_array_equal(weight.grad, [[0.5, 0.5], [0.5, 0.5], [0, 0]])
    for mode in "sum", "mean", "max":
        assert F.embedding_bag([], weight, [0, 0], mode=mode).data.tolist() == [[0, 0], [0, 0]]
        assert F.embedding_bag([[1]], weight, mode=mode, padding_idx=1).data.tolist() == [[0, 0]]


def test_long_bags_of_float16():
    weight = np.full((1, 1), 10, np.float16)
    words = np.zeros((1, 30000), int)
    assert F.embedding_bag(words, weight, mode="mean").data == 10


def test_compiled_bags_have_the_same_bits():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 5, 3)).astype(np.float32)
    words = rng.integers(0, 5, (4, 3, 6))
    for mode in "sum", "mean", "max":

        def loss(weight, words, mode=mode):
            return np.sum(np.square(F.embedding_bag(words, weight, mode=mode, padding_idx=2)))

        assert_runs_as_eager(grad(loss), lambda i: weight[i], lambda i: words[i])


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
        (lambda: nn.Embedding(2, 2, max_norm=0), ValueError, "Embedding's max_norm is a positive"),
        (lambda: nn.Embedding(2, 2, norm_type="1"), TypeError, "Embedding's norm_type"),
        (lambda: F.embedding([0], np.ones((2, 2)), None, -1), ValueError, "max_norm is a positive"),
        (lambda: BAG([0, 1], np.ones((2, 2))), ValueError, "where each bag begins"),
        (lambda: BAG([[0]], np.ones((2, 2)), [0]), ValueError, "all words in one axis"),
        (lambda: BAG([0, 1], np.ones((2, 2)), [1]), ValueError, r"begin with 0.*got \[1\]"),
        (lambda: BAG([0, 1], np.ones((2, 2)), [0, 3]), ValueError, "up to the number of words, 2"),
        (lambda: BAG([0, 1], np.ones((2, 2)), [0, 2, 1]), ValueError, "do not fall"),
        (
            lambda: BAG([0, 1], np.ones((2, 2)), [0, 1], include_last_offset=True),
            ValueError,
            "2, which is the last with include_last_offset",
        ),
        (lambda: BAG([0, 1], np.ones((2, 2)), [0.0]), TypeError, "offsets are integers"),
        (lambda: BAG([[2]], np.ones((2, 2))), IndexError, "word 2"),
        (lambda: BAG([[0]], np.ones((2, 2)), mode="min"), ValueError, "'sum', 'mean', 'max'"),
        (
            lambda: BAG([[0]], np.ones((2, 2)), per_sample_weights=[[1.0]]),
            ValueError,
            "mode='sum' only",
        ),
        (
            lambda: BAG([[0]], np.ones((2, 2)), mode="sum", per_sample_weights=[1.0]),
            ValueError,
            r"words' shape \(1, 1\), got \(1,\)",
        ),
        (lambda: nn.EmbeddingBag(2, 2, mode="first"), ValueError, "EmbeddingBag's mode"),
        (lambda: nn.Embedding(2, 2.0), TypeError, "embedding_dim"),
        (lambda: nn.Embedding(2, 2, padding_idx=0.5), TypeError, "padding_idx"),
        (lambda: nn.Embedding.from_pretrained([1.0]), ValueError, "vocabulary, features"),
    ],
)
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()

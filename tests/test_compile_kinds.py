"""Shapes and dtypes that depend on values: a program holds for those that were traced."""

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile

ROTATION, MIRROR = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
FULL, THIN = np.eye(3)[:, :2], np.array([[1.0, 0], [0, 0], [0, 0]])
UP, DOWN = np.array([1.0, 2, 3, 4, 5, 6]), np.array([6.0, 5, 4, 3, 2, 1])


def C(*values):
    return np.array(values)


#: Functions, and two arguments that lead to other kinds of results.
CASES = {
    "eigvals": (lambda x: np.linalg.eigvals(x) * 2 + 1, ROTATION, MIRROR),
    "dtype of eigvals": (
        lambda x: x * (2 if np.linalg.eigvals(x).dtype == float else 3),
        ROTATION,
        MIRROR,
    ),
    "eig": (lambda x: np.linalg.eig(x).eigenvectors @ x, ROTATION, MIRROR),
    "roots": (lambda p: np.ones(2) * np.roots(p).size, C(1.0, 3, 1), C(0.0, 3, 1)),
    "dtype of roots": (lambda p: np.roots(p) * 2, C(1.0, 3, 1), C(1.0, 0, 1)),
    "poly": (lambda x: np.poly(x) * 2, C(1j, -1j), C(1j, 1j)),
    "polymul": (lambda x: np.polymul(x, x) + 1, C(1.0, 2), C(0.0, 2)),
    "polydiv": (lambda x: np.polydiv(x, C(1.0, 1))[1] * 2, C(1.0, 3, 1), C(0.0, 3, 1)),
    "polyfit": (
        lambda x: np.ones(1) * np.polyfit(x, x, 1, full=True)[1].size,
        C(1.0, 2, 3),
        C(1.0, 1, 1),
    ),
    "sqrt": (lambda v: np.emath.sqrt(v) * 2 + 1, C(1.0, -1), C(1.0, 1)),
    "sqrt of a number": (lambda v: np.emath.sqrt(v[0]) * 2 + 1, C(-1.0, 1), C(1.0, 1)),
    "power": (lambda v: np.emath.power(v, 0.5) * 2, C(1.0, -1), C(1.0, 1)),
    "logn": (lambda v: np.emath.logn(2, v) * 2, C(1.0, -1), C(1.0, 1)),
    "arccos": (lambda v: np.emath.arccos(v) * 2, C(1.0, -2), C(1.0, 1)),
    "arctanh": (lambda v: np.emath.arctanh(v) * 2, C(0.1, -2), C(0.1, 0.2)),
    "lstsq": (lambda m: np.ones(1) * np.linalg.lstsq(m, np.ones(3))[1].size, FULL, THIN),
    "real_if_close": (lambda z: np.real_if_close(z) * 2, C(1 + 1j), C(1 + 0j)),
    "itself": (lambda z: z * (2 if np.real_if_close(z) is z else 3), C(1 + 1j), C(1 + 0j)),
    "trim_zeros": (lambda x: np.trim_zeros(x) * 2, C(0.0, 1, 2), C(1.0, 0, 0)),
    "unique": (lambda x: np.unique(x, return_counts=True), UP, np.ones(6)),
    "ix_": (lambda x: (x[:, None] * x)[np.ix_(x > 2, x > 3)], UP, UP + 1),
    "apply_along_axis": (
        lambda x: np.apply_along_axis(np.flatnonzero, 0, x)[0] * 2,
        C(0.0, 1, 2, 0, 3, 4),
        UP,
    ),
    "texts": (
        lambda w: np.strings.replace(w, "a", "bcd"),
        C("a", "xxxx"),
        C("aaaa", "x"),
    ),
    "a slice": (lambda x: x[: np.argmax(x)] * 2, UP, DOWN + UP[::-1]),
    "another slice": (lambda x: (x[:, None] * x)[1:, np.argmax(x) :].sum(0), UP, DOWN),
    "reshape": (lambda x: x.reshape(np.argmax(x) + 1, -1) * 2, UP, DOWN),
    "np.reshape": (lambda x: np.reshape(x, (np.argmax(x) + 1, -1)) * 2, UP, DOWN),
    "np.reshape by an array": (
        lambda x: np.reshape(x, (x[:2] > 5).astype(int) * 5 + C(1, 1) + C(5, 0)) * 2,
        C(1.0, 2, 3, 4, 5, 6),
        C(1.0, 2, 3, 4, 5, 7),
    ),
    "tile": (lambda x: np.tile(x, np.argmax(x) + 1) * 2, UP, DOWN),
    "full": (lambda x: np.full(np.argmax(x) + 1, 2.0, like=x) * 2, UP, DOWN),
    "arange": (lambda x: np.arange(np.argmax(x) + 1, like=x) * 2, UP, DOWN),
    "reduce": (
        lambda x: np.add.reduce(x[None] * np.ones((1, 6)), axis=np.argmax(x[:2])) * 2 + x[0],
        UP,
        DOWN,
    ),
    "accumulate": (
        lambda x: np.add.accumulate(x * np.ones((2, 6)), axis=np.argmax(x[:2])) * 2,
        UP,
        DOWN,
    ),
    "sum": (lambda x: (x * np.ones((3, 6))).sum(axis=(x[0] > 2).astype(int)) * 2, UP, DOWN),
    "np.sum": (lambda x: np.sum(x * np.ones((3, 6)), axis=(x[0] > 2).astype(int)), UP, DOWN),
    "pad": (lambda x: np.pad(x, np.argmax(x)) * 2, UP, DOWN),
    "split": (lambda x: np.split(x, [np.argmax(x)])[0] * 2, UP, DOWN),
    "array_split": (lambda x: np.array_split(x, np.argsort(x)[2:4])[1] * 2, UP, DOWN[::-1] % 5),
    "linspace": (lambda x: np.linspace(x[0], x[1], num=np.argmax(x) + 2) * 2, UP, DOWN),
    "diagonal": (lambda x: np.diagonal(x * x[:, None], offset=np.argmax(x)) * 2, UP, DOWN),
    "fft": (lambda x: np.fft.fft(x, np.argmax(x) + 1) * 2, UP, DOWN),
    "draws": (lambda x: np.zeros_like(x, shape=np.argmax(x) + 1) * 2, UP, DOWN),
}


@pytest.mark.parametrize("name", CASES)
def test_another_kind_of_result_is_eager_codes(name):
    function, *arguments = CASES[name]
    for first, other in (arguments, arguments[::-1]):
        compiled = compile(function)
        for _ in range(2):
            try:
                compiled(first)
            except TypeError as error:
                assert "test_compile_kinds.py" in str(error)  # noqa: PT017
                break
        else:
            for x in (first, other, first, other):
                with np.errstate(all="ignore"):
                    assert_same_bits(compiled(x), function(x))
            assert compiled.traces


def test_few_are_refused():
    refused = []
    for name, (function, x, _) in CASES.items():
        try:
            compile(function)(x)
        except TypeError:
            refused.append(name)
    is_dispatched = isinstance(np.strings.replace, type(np.sum))  # not in NumPy 2.2
    assert refused == ([] if is_dispatched else ["texts"])


def test_a_draw_of_a_length_that_depends_on_values():
    def draw(rng):
        return lambda x: rng.normal(size=(np.argmax(x) + 1, 2)) * 2

    compiled = compile(draw(np.random.default_rng(0)))
    eager = draw(np.random.default_rng(0))
    for x in (UP, UP, UP, DOWN, UP, DOWN):
        assert_same_bits(compiled(x), eager(x))


def test_the_smallest_dtype_of_a_number_is_refused():
    for function in (
        lambda x: x.astype(np.min_scalar_type(x[0])),
        lambda x: x.astype(np.min_scalar_type(x.sum())),
    ):
        with pytest.raises(TypeError, match=r"test_compile_kinds.py:\d+: np.min_scalar_type"):
            compile(function)(UP)


def test_what_has_one_kind_is_not_checked():
    def f(x, k):
        n = np.argmax(x)
        found = x[n] * np.take(x, n) + np.roll(x, n) + np.clip(x, n, k) + x[np.argsort(x)]
        return np.where(x > n, found, n), np.linalg.eigvalsh(x[:, None] * x), np.sqrt(x)

    compiled = compile(f)
    for _ in range(3):
        assert_same_bits(compiled(UP, 3.0), f(UP, 3.0))
    assert ".shape !=" not in compiled.source
    assert ".dtype !=" not in compiled.source

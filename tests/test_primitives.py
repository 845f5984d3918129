"""Primitives and their VJPs: what is refused, and when; what they are called."""

import functools

import numpy as np
import pytest
from helpers import leaf, make

from microgrand import Tensor, defvjp, no_grad, primitive
from microgrand.checks import name_of
from microgrand.engine import NO_KEYWORDS, Rules, rules_of


@pytest.fixture(autouse=True)
def same_table_afterwards():
    saved = dict(rules_of)
    yield
    rules_of.clear()
    rules_of.update(saved)


def identity_vjp(g, out, *args):
    return g


def test_a_primitive_without_a_derivative_is_refused_at_the_call():
    double = make(lambda x: 2 * x)
    with pytest.raises(TypeError, match=r"lambda.*has no derivative.*defvjp.*detach"):
        double(leaf(1.0))
    assert double(Tensor([1.0])).data == [2.0]
    assert double(np.ones(1)) == [2.0]
    with no_grad():
        assert not double(leaf(1.0)).requires_grad


def test_an_argument_without_a_derivative_is_refused_at_the_call():
    power = make(lambda x, n: x**n, lambda g, out, x, n: g * n * x ** (n - 1))
    assert power(leaf(3.0), 2).requires_grad
    assert power(leaf(3.0), Tensor([2.0])).requires_grad
    for vjps in ((identity_vjp,), (identity_vjp, None)):
        with pytest.raises(TypeError, match="no derivative with respect to argument 1"):
            make(lambda x, n: x**n, *vjps)(leaf(3.0), leaf(2.0))


def test_arguments_that_the_vjps_do_not_know_are_refused_at_the_call():
    f = make(lambda x, n=1, *, m=1: x * n * m, lambda g, out, x, n=1: g * n)
    assert f(leaf(1.0), n=2).requires_grad
    with pytest.raises(TypeError, match="when called with the argument m"):
        f(leaf(1.0), m=2)
    f = make(lambda x, n=1: x * n, lambda g, out, x: g)
    with pytest.raises(TypeError, match="at most 1 positional arguments, got 2"):
        f(leaf(1.0), 2)


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("result", [None, 2.0, (np.ones(1), np.ones(1)), [1.0], "text"])
def test_a_result_that_is_not_an_array_is_refused_at_the_call(result, tracked):
    f = make(lambda x: result, identity_vjp)
    with pytest.raises(TypeError, match=r"lambda.*returned .*expected an array"):
        f(Tensor([1.0], requires_grad=tracked))


@pytest.mark.parametrize("result", [np.ones(1, int), np.ones(1, bool)])
def test_a_result_without_gradients_is_refused_at_the_call(result):
    f = make(lambda x: result, identity_vjp)
    with pytest.raises(TypeError, match=rf"result of dtype {result.dtype}"):
        f(leaf(1.0))
    assert f(Tensor([1.0])).dtype == result.dtype


def test_a_real_argument_gets_the_real_part_of_a_complex_cotangent():
    x = leaf(1.0, 2.0)
    make(lambda x: x, lambda g, out, x: g * (3 + 4j))(x).sum().backward()
    assert x.grad.dtype == np.float64
    np.testing.assert_array_equal(x.grad, [3.0, 3.0])


def test_backward_begins_at_real_numbers_only():
    loss = leaf(1.0)[0] * 1j
    with pytest.raises(RuntimeError, match=r"complex128.*np\.real"):
        loss.backward()


def test_a_primitive_made_of_a_known_function_has_a_derivative_of_its_own():
    wrong = make(np.sin, lambda g, out, x: 7 * g)
    x, y = leaf(0.0), leaf(0.0)
    (np.sin(x) + wrong(y)).sum().backward()
    assert (x.grad.item(), y.grad.item()) == (1.0, 7.0)


@pytest.mark.parametrize(
    "function", [np.sign, np.sinc, np.sin], ids=["constant", "formula", "rule"]
)
def test_a_primitive_made_of_a_function_of_numpys_leaves_that_as_it_is(function):
    points = np.array([-1.5, 0.25, 2.0])

    def gradient(f):
        x = Tensor(points, requires_grad=True)
        (x * f(x)).sum().backward()
        return x.grad

    before = gradient(function)
    straight_through = make(function, lambda g, out, x: 7 * g)
    np.testing.assert_array_equal(gradient(function), before)
    np.testing.assert_array_equal(gradient(straight_through), function(points) + 7 * points)


def test_two_primitives_of_one_function_have_derivatives_of_their_own():
    def identity(x):
        return x * 1

    first, second = make(identity, lambda g, out, x: g), make(identity, lambda g, out, x: 7 * g)
    x, y = leaf(1.0), leaf(1.0)
    (first(x) + second(y)).sum().backward()
    assert (x.grad.item(), y.grad.item()) == (1.0, 7.0)
    assert first.__wrapped__ is identity


def test_tensors_must_be_arguments_of_their_own():
    w = leaf(1.0)
    add = make(lambda x, others, scale=1.0: x + sum(others), identity_vjp)
    with pytest.raises(TypeError, match=r"given a list of tensors.*f\(\*tensors\)"):
        add(leaf(1.0), [w])
    with pytest.raises(TypeError, match="given a tuple of tensors"):
        add(leaf(1.0), (1.0, w))
    with pytest.raises(TypeError, match=r"keyword argument 'scale'.*by position"):
        add(leaf(1.0), [1.0], scale=w)
    for others, kind in ({"a": w}, "dict"), ([[1.0], [w]], "list"), (({"a": [w]},), "tuple"):
        straight_through = make(lambda x, others: np.round(x), identity_vjp)
        with pytest.raises(TypeError, match=f"given a {kind} of tensors"):
            straight_through(others, 1.0)
        with pytest.raises(TypeError, match=f"given a {kind} of tensors"):
            add(leaf(1.0), others)
        with pytest.raises(TypeError, match=r"keyword argument 'scale', or in it;.*by position"):
            add(leaf(1.0), [1.0], scale=others)
    closure = make(lambda x: x * w, identity_vjp)
    with pytest.raises(TypeError, match="not among its arguments"):
        closure(leaf(1.0))


@pytest.mark.parametrize(
    ("share", "error", "message"),
    [
        (None, TypeError, r"returned None for argument 0, expected an array of shape \(2,\)"),
        (1.0, TypeError, r"returned 1\.0 for argument 0, expected an array"),
        ([1.0, 1.0], TypeError, "expected an array"),
        (np.ones(3), ValueError, r"shape \(3,\) for an argument of shape \(2,\)"),
        (np.ones(1), ValueError, r"shape \(1,\) for an argument of shape \(2,\)"),
        (np.ones(()), ValueError, r"shape \(\) for an argument of shape \(2,\)"),
        (np.ones((2, 3)), ValueError, r"for an argument of shape \(2,\)"),
        (np.ones((2, 2)), ValueError, r"\(2, 2\) for .* \(2,\), .* the result, of shape \(2,\)"),
        (np.ones((5, 1, 2)), ValueError, r"\(5, 1, 2\) for an argument of shape \(2,\)"),
        (np.ones(2, bool), TypeError, "dtype bool for an argument of dtype float64"),
    ],
)
def test_what_a_wrong_vjp_returns_is_refused(share, error, message):
    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=message):
        make(lambda x: x, lambda g, out, x: share)(x).sum().backward()
    with pytest.raises(error, match=message):
        make(lambda x: x, joint=lambda g, out, needed, x: [share])(x).sum().backward()


@pytest.mark.parametrize(
    ("shape", "other", "share"),
    [
        ((3,), (), (3, 3)),
        ((3,), (2, 3), (3, 3)),
        ((3,), (2, 3), (5, 2, 3)),
        ((3, 1), (1, 4), (3, 2)),
        ((3, 1), (1,), (3, 4)),
        ((), (), (3,)),
        ((1,), (), (3,)),
    ],
)
def test_a_cotangent_is_summed_along_axes_of_the_result_only(shape, other, share):
    for returned in (share, np.broadcast_shapes(shape, other), shape):
        scale = make(lambda x, y: x + y, lambda g, out, x, y: np.ones(returned), None)  # noqa: B023
        x = Tensor(np.ones(shape), requires_grad=True)
        out = scale(x, np.ones(other)).sum()
        if returned is share:
            with pytest.raises(ValueError, match="for an argument of shape"):
                out.backward()
        else:
            out.backward()
            assert x.grad.shape == shape
            assert np.sum(x.grad) == np.prod(returned)


@pytest.mark.parametrize("shares", [None, [], [np.ones(1)] * 2, np.ones(1)])
def test_a_joint_vjp_must_return_a_cotangent_for_each_argument(shares):
    with pytest.raises(TypeError, match=r"joint VJP of .* expected a list of 1"):
        make(lambda x: x, joint=lambda g, out, needed, x: shares)(leaf(1.0)).backward()


def test_defvjp_and_primitive_refuse_what_they_cannot_use():
    f = make(lambda x: x)
    with pytest.raises(TypeError, match="either one VJP for each argument, or joint"):
        defvjp(f)
    with pytest.raises(TypeError, match="either one VJP"):
        defvjp(f, identity_vjp, joint=identity_vjp)
    with pytest.raises(TypeError, match="expects functions, got 3"):
        defvjp(f, 3)
    with pytest.raises(TypeError, match=r"vjp\(g, out, \*args, \*\*kwargs\)"):
        defvjp(f, lambda g: g)
    with pytest.raises(TypeError, match=r"joint\(g, out, needed"):
        defvjp(f, joint=lambda g, out, needed: [g])
    with pytest.raises(TypeError, match="primitive expects a function, got 3"):
        primitive(3)


def test_a_user_may_differentiate_a_numpy_function_in_their_own_way():
    # A straight-through estimator: round in the forward pass, identity in the backward pass.
    defvjp(np.rint, lambda g, out, x: g)
    defvjp(np.prod, lambda g, out, x: g * np.ones_like(x))  # instead of the stand-in
    x = leaf(1.4, 2.0)
    np.prod(np.rint(x)).backward()
    assert x.grad.tolist() == [1, 1]


def test_lists_are_operands_of_a_joint_vjp_too(monkeypatch):
    def joint(g, out, needed, x, towards):
        return [g * (towards > x), None]

    monkeypatch.setitem(rules_of, np.nextafter, Rules((), joint))
    x = leaf(1.0, 2.0)
    np.nextafter(x, [3, 1]).sum().backward()
    assert x.grad.tolist() == [1, 0]


def test_plain_calls_record_nothing():
    @primitive
    def f(x, **options):
        return x

    defvjp(f, identity_vjp)
    assert f(3.0) == 3.0
    assert f(Tensor([1.0])).kwargs is NO_KEYWORDS
    assert f.__name__ == "f"


def test_a_joint_vjp_that_takes_fewer_arguments_is_refused_when_called():
    function = primitive(lambda *xs: sum(xs))
    defvjp(function, joint=lambda g, out, needed, x, y: [g, g])
    x = Tensor(1.0, requires_grad=True)
    assert function(x, x).item() == 2
    with pytest.raises(TypeError, match="at most 2 positional arguments, got 3"):
        function(x, x, x)


def test_whole_numbers_have_no_graph_and_no_error():
    total = np.sum(Tensor([1, 2]))
    assert total == 3
    assert total.dtype.kind == "i"


def test_functions_are_named_as_users_write_them():
    def f(x):
        return x

    f.__module__, f.__qualname__ = "numpylike", "f"
    assert name_of(f) == "numpylike.f"
    f.__module__ = "mine.numpy"
    assert name_of(f) == "mine.numpy.f"
    assert name_of(np.add) == "np.add"
    assert name_of(np.sum) == "np.sum"
    assert name_of(primitive(functools.partial(f))).endswith(repr(functools.partial(f)))
    assert name_of(np.linalg.norm) == "np.linalg.norm"
    assert name_of(np.add.at) == "np.add.at"

"""The transforms: right values, exact nesting, and results of the kind that was given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgrand import (
    Tensor,
    enable_grad,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    nn,
    no_grad,
    value_and_grad,
    vjp,
)

floats = st.floats(-2, 2).map(lambda x: round(x, 3))
vectors = hnp.arrays(np.float64, st.integers(0, 5), elements=floats)


def f(x):
    """Smooth, not symmetric in its elements, with every second derivative."""
    return np.sum(np.sin(x) * np.cumsum(x**2)) + np.prod(x)


def numeric_jacobian(g, x, step=1e-6):
    columns = []
    for i in range(x.size):
        offset = np.zeros(x.size)
        offset[i] = step
        offset = offset.reshape(x.shape)
        columns.append((np.asarray(g(x + offset)) - np.asarray(g(x - offset))) / (2 * step))
    shape = np.asarray(g(x)).shape
    if not columns:
        return np.zeros(shape + x.shape)
    return np.stack(columns, -1).reshape(shape + x.shape)


@given(vectors)
def test_grad_against_differences(x):
    np.testing.assert_allclose(grad(f)(x), numeric_jacobian(f, x), rtol=1e-6, atol=1e-6)
    value, gradient = value_and_grad(f)(x)
    np.testing.assert_allclose(value, f(x))
    np.testing.assert_array_equal(gradient, grad(f)(x))


@given(vectors)
def test_hessian_against_differences_of_the_gradient(x):
    expected = numeric_jacobian(grad(f), x)
    np.testing.assert_allclose(hessian(f)(x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(hessian(f)(x), hessian(f)(x).T, atol=1e-12)


@given(vectors, st.data())
def test_products_agree_with_the_full_matrices(x, data):
    t = data.draw(hnp.arrays(np.float64, x.shape, elements=floats))

    def g(x):
        return np.outer(np.exp(x), np.cumsum(x))

    matrix = jacobian(g)(x)
    assert matrix.shape == x.shape * 3
    value, tangent = jvp(g, [x], [t])
    np.testing.assert_allclose(value, g(x))
    np.testing.assert_allclose(tangent, matrix @ t, atol=1e-12)
    _, pullback = vjp(g, x)
    v = data.draw(hnp.arrays(np.float64, x.shape * 2, elements=floats))
    for _ in range(2):  # a pullback may be called again
        np.testing.assert_allclose(pullback(v)[0], np.tensordot(v, matrix), atol=1e-12)
    np.testing.assert_allclose(hvp(f, [x], [t])[0], hessian(f)(x) @ t, atol=1e-10)


@pytest.mark.parametrize(
    ("order", "expected"), [(1, 32.0), (2, 48.0), (3, 48.0), (4, 24.0), (5, 0)]
)
def test_grad_of_grad_of(order, expected):
    g = lambda x: x**4
    for _ in range(order):
        g = grad(g)
    assert g(2.0) == expected
    assert type(g(2.0)) is np.float64


def test_inner_derivatives_do_not_mix_with_outer_ones():
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(5.0) == 1.0
    assert grad(lambda x: grad(lambda y: x * y * y)(3.0))(2.0) == 6.0
    assert grad(lambda x: x * jvp(lambda y: x * y**2, [x], [1.0])[1])(2.0) == 6 * 2.0**2
    inner_twice = lambda x: grad(lambda y: y * grad(lambda z: x * y * z**2)(y))(x)
    np.testing.assert_allclose(grad(inner_twice)(3.0), numeric_jacobian(inner_twice, np.array(3.0)))


def test_a_pullback_made_inside_another_transform_stays_in_its_graph():
    def g(w):
        value, pullback = vjp(lambda x: w * x**2, 3.0)  # value = 9 w, pullback(1) = 6 w
        return value * pullback(1.0)[0]  # 54 w^2

    assert grad(g)(2.0) == 216.0
    assert type(grad(g)(2.0)) is np.float64


def test_arrays_give_arrays_that_share_no_memory():
    x = np.ones(3)
    gradients = grad(lambda a, b: np.sum(a + b), (0, 1))(x, x)
    assert all(type(g) is np.ndarray and g.flags.writeable for g in gradients)
    assert not np.shares_memory(*gradients)
    value, pullback = vjp(lambda x: x, x)
    assert not np.shares_memory(value, x)
    v = np.ones(3)
    assert not np.shares_memory(pullback(v)[0], v)


def test_a_tensor_that_requires_a_gradient_gives_a_tensor_in_its_graph():
    x = Tensor([1.0, 2.0], requires_grad=True)
    slope = grad(lambda x: np.sum(x**3))(x)
    assert isinstance(slope, Tensor)
    slope.sum().backward()
    np.testing.assert_allclose(x.grad, [6.0, 12.0])


def test_a_function_that_closes_over_a_parameter():
    w = Tensor([1.0, 2.0], requires_grad=True)
    slope = grad(lambda x: np.sum(w * x**2))(np.array([3.0, 4.0]))
    assert isinstance(slope, Tensor)
    (slope**2).sum().backward()  # slope = 2 w x, d slope^2 / d w = 8 w x^2
    np.testing.assert_allclose(w.grad, [72.0, 256.0])


def test_gradient_penalty_of_a_network():
    net = nn.Sequential(nn.Linear(3, 4, dtype=np.float64), nn.ReLU(), nn.Linear(4, 1))
    x = np.array([[0.5, -1.0, 2.0]])
    slope = grad(lambda x: net(x).sum())(x)
    np.sum(slope**2).backward()
    first = net[0].weight

    def penalty(w):
        kept = (x @ w.T + net[0].bias.data) > 0
        return np.sum(((net[2].weight.data * kept) @ w) ** 2)

    np.testing.assert_allclose(first.grad, numeric_jacobian(penalty, first.data), rtol=1e-4)


def test_no_graph_is_kept_under_no_grad_but_gradients_work():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with no_grad():
        slope = grad(lambda x: np.sum(x**2))(x)
        assert grad(grad(lambda x: x**3))(2.0) == 12.0
    assert type(slope) is np.ndarray
    np.testing.assert_array_equal(slope, [2.0, 4.0])
    assert x.grad is None


def test_only_wanted_gradients_are_computed():
    from microgrand import defvjp, primitive

    calls = []
    product = primitive(lambda x, w: x * w)
    defvjp(
        product,
        lambda g, out, x, w: g * w,
        lambda g, out, x, w: calls.append("w") or g * x,
    )
    w = Tensor(2.0, requires_grad=True)
    grad(lambda x: product(x, w))(3.0)
    assert not calls


def test_several_arguments_and_nested_containers():
    params = {"w": np.array([1.0, 2.0]), "layers": [(np.array(3.0), None), 4.0]}

    def g(p, scale):
        return scale * (np.sum(p["w"] ** 2) + p["layers"][0][0] * p["layers"][1])

    slopes = grad(g)(params, 2.0)
    np.testing.assert_array_equal(slopes["w"], [4.0, 8.0])
    assert slopes["layers"] == [(8.0, None), 6.0]
    both = grad(g, (0, 1))(params, 2.0)
    assert both[1] == 17.0
    assert grad(g, -1)(params, 2.0) == 17.0


def replace_item(nest):
    nest["w"][0] = nest["w"][0] * 2
    return nest["w"][0] ** 2


def take_out(nest):
    return (2 * nest.pop("w")[0]) ** 2


@pytest.mark.parametrize("function", [replace_item, take_out])
def test_a_function_may_change_the_containers_that_it_is_given(function):
    nest = {"w": [np.array(3.0)]}
    assert grad(function)(nest) == {"w": [24.0]}
    assert hessian(function)(nest) == {"w": [{"w": [8.0]}]}
    assert jvp(function, [nest], [{"w": [1.0]}]) == (36.0, 24.0)
    assert nest == {"w": [3.0]}


def test_a_container_of_results_may_be_used_again():
    results = {}

    def power(x, n):
        results["y"] = x**n
        return results

    _, pullback = vjp(lambda x: power(x, 2), np.ones(2))
    power(np.ones(3), 3)
    np.testing.assert_array_equal(pullback({"y": np.ones(2)})[0], [2.0, 2.0])


def test_blocks_of_a_hessian_of_two_arguments():
    (xx, xy), (yx, yy) = hessian(lambda x, y: np.sum(x**2 * y), (0, 1))(np.ones(2), np.full(2, 3.0))
    np.testing.assert_array_equal(xx, 6 * np.eye(2))
    np.testing.assert_array_equal(xy, 2 * np.eye(2))
    np.testing.assert_array_equal(yx, 2 * np.eye(2))
    np.testing.assert_array_equal(yy, np.zeros((2, 2)))


def test_functions_of_several_results():
    value, pullback = vjp(lambda x: {"a": 2 * x, "b": [np.sum(x)]}, np.ones(2))
    np.testing.assert_array_equal(value["a"], [2.0, 2.0])
    (g,) = pullback({"a": np.array([1.0, 0.0]), "b": [10.0]})
    np.testing.assert_array_equal(g, [12.0, 10.0])
    jacobians = jacobian(lambda x: (x**2, np.sum(x)))(np.ones(2))
    np.testing.assert_array_equal(jacobians[0], 2 * np.eye(2))
    np.testing.assert_array_equal(jacobians[1], np.ones(2))


def test_a_linear_function_has_a_hessian_of_zeros():
    np.testing.assert_array_equal(hessian(lambda x: np.sum(2 * x))(np.ones(2)), np.zeros((2, 2)))


@pytest.mark.parametrize("transform", [grad, value_and_grad, jacobian, hessian])
def test_transforms_keep_the_name_and_the_text_of_the_function(transform):
    assert transform(f).__name__ == "f"
    assert transform(f).__doc__ == f.__doc__


def test_the_first_argument_is_the_one_unless_told_otherwise():
    f = lambda x, y: x**2 * y**3
    assert grad(f)(2.0, 3.0) == jacobian(f)(2.0, 3.0) == 4 * 27
    assert value_and_grad(f)(2.0, 3.0) == (4 * 27, 4 * 27)
    assert hessian(f)(2.0, 3.0) == 2 * 27


def test_arguments_may_be_counted_from_the_end():
    f = lambda x, y: x * y**2
    assert grad(f, -1)(2.0, 3.0) == 12
    assert grad(f, -2)(2.0, 3.0) == 9
    assert grad(f, (-2, -1))(2.0, 3.0) == (9, 12)


@pytest.mark.parametrize("argnums", [(0, 0), (1, -1), [0, 1, 0]])
def test_an_argument_is_named_once(argnums):
    with pytest.raises(ValueError, match="twice"):
        grad(lambda x, y: x * y, argnums)(2.0, 3.0)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8])
def test_arguments_may_be_counted_by_numpys_integers(dtype):
    assert grad(lambda x, y: x * y**2, argnums=dtype(1))(2.0, 3.0) == 12
    assert grad(lambda x, y: x * y**2, argnums=(dtype(1), dtype(0)))(2.0, 3.0) == (12, 9)
    assert jacobian(lambda x, y: x * y**2, argnums=dtype(1))(2.0, 3.0) == 12
    assert hessian(lambda x, y: x * y**2, argnums=dtype(1))(2.0, 3.0) == 4


def test_an_argument_that_does_not_matter():
    gradients = grad(lambda x, y: np.sum(x), (0, 1))(np.ones(2), np.ones(3))
    np.testing.assert_array_equal(gradients[1], np.zeros(3))
    with pytest.raises(TypeError, match="does not depend"):
        grad(lambda x, y: np.sum(x), 1)(np.ones(2), np.ones(3))


def test_dtype_of_the_argument_is_kept():
    assert grad(lambda x: np.sum(x * np.ones(2)))(np.ones(2, np.float32)).dtype == np.float32


def two_results(cotangent):
    return vjp(lambda x: {"a": x, "b": x}, 1.0)[1](cotangent)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: grad(np.sin)(1), TypeError, "int64.*1.0 instead of 1"),
        (lambda: grad(lambda x: 3.0)(1.0), TypeError, "not a Tensor"),
        (lambda: grad(float)(1.0), TypeError, r"float\(\) of a Tensor"),
        (lambda: grad(Tensor.item)(1.0), TypeError, r"graph was lost by float\(\), \.item\(\)"),
        (lambda: grad(np.sin)(np.ones(3)), ValueError, r"shape \(3,\).*np.sum"),
        (lambda: grad(np.sin, 1)(1.0), ValueError, "argument 1.*1 positional"),
        (lambda: vjp(np.sin, np.ones(3))[1](np.ones(2)), ValueError, r"\(2,\), expected \(3,\)"),
        (lambda: grad(np.sin, -2)(1.0), ValueError, "argument -2.*1 positional"),
        (lambda: vjp(lambda x: (x, x), 1.0)[1]((1.0,)), ValueError, "expected 2 arrays .* got 1"),
        (lambda: two_results({"a": 1.0}), ValueError, r"named \['a', 'b'\] .* got \['a'\]"),
        (lambda: two_results({"a": 1.0, "b": 1.0, "c": 1.0}), ValueError, r"got \['a', 'b', 'c'\]"),
        (lambda: two_results(np.ones(2)), ValueError, r"named \['a', 'b'\] .* got a ndarray"),
        (lambda: two_results({"a": 1.0, "b": None}), TypeError, "is None.*give zeros"),
        (lambda: jvp(np.sin, [1.0], [1.0, 1.0]), ValueError, "expected 1 arrays .* got 2"),
        (lambda: jvp(np.sin, 1.0, 1.0), TypeError, "list or tuple"),
        (lambda: hvp(np.sum, np.ones(1), [np.ones(1)]), TypeError, r"primals as a list .*\[x\]"),
        (lambda: hvp(np.sum, [np.ones(1)], np.ones(1)), TypeError, r"tangents as a list .*\[x\]"),
        (lambda: grad(lambda x: x * 1j)(1.0), TypeError, "complex128; take np.real"),
        (lambda: jacobian(lambda x: [x, x * 1j])(1.0), TypeError, "complex128; take np.real"),
    ],
)
def test_misuse(call, error, words):
    with enable_grad(), pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("transform", [grad, value_and_grad, jacobian, hessian])
def test_what_is_no_function_or_no_number_of_an_argument_is_refused_before_any_call(transform):
    name = transform.__name__
    for argnums in ("x", ("x",), None, 1.0, np.ones(3)):
        with pytest.raises(TypeError, match=rf"argnums is the number .*, {name}\(f\)\(x\)"):
            transform(np.sin, argnums)
    for value in (np.ones(3), Tensor(1.0), 3):
        with pytest.raises(TypeError, match=f"^{name} expects a function, got"):
            transform(value)

"""Misuse fails where it happens, and no NumPy function loses a gradient without a word."""

import inspect
import itertools
import re
import warnings
from fractions import Fraction

import numpy as np
import pytest
from helpers import leaf

from microgrand import Tensor, defvjp, no_grad, primitive
from microgrand.nn import functional as F

# -------------------------------------------------------------------------------- backward


def test_backward_of_several_elements_needs_a_gradient():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"shape \(2,\); reduce it with \.sum\(\).*gradient="):
        (x * 2).backward()
    (x * 2)[:1].backward()
    assert x.grad.tolist() == [2, 0]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 2), (2, 1)])
def test_backward_refuses_a_gradient_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"gradient has shape .*, expected \(2,\)"):
        (leaf(1.0, 2.0) * 2).backward(np.ones(shape))


@pytest.mark.parametrize("gradient", [True, "1", 1j, object()])
def test_backward_refuses_a_gradient_that_is_no_real_number(gradient):
    # True, for instance, is meant for retain_graph.
    with pytest.raises(TypeError, match="gradient has dtype"):
        leaf(1.0).sum().backward(gradient)


@pytest.mark.parametrize("gradient", [[1, 2], np.array([1, 2]), Tensor([1.0, 2.0]), leaf(1.0, 2.0)])
def test_backward_takes_lists_integers_and_tensors_as_gradient(gradient):
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    (x * 3).backward(gradient)
    assert x.grad.tolist() == [3, 6]
    assert x.grad.dtype == np.float32
    assert getattr(gradient, "grad", None) is None


def test_backward_without_a_graph():
    x = leaf(1.0)
    with no_grad():
        recorded_nothing = x * 2
    for tensor in (Tensor(1.0), recorded_nothing, x.detach(), x.sum().detach()):
        with pytest.raises(RuntimeError, match=r"without a graph.*requires_grad=True.*no_grad"):
            tensor.backward()


# ----------------------------------------------------------------------------- construction


@pytest.mark.parametrize("data", [1, True, 1j, [1, 2], np.arange(3)])
def test_only_floats_require_gradients(data):
    with pytest.raises(
        TypeError, match=r"needs floating-point data, got dtype .*(dtype=float|imaginary)"
    ):
        Tensor(data, requires_grad=True)
    for switch in (lambda t: t.requires_grad_(), lambda t: setattr(t, "requires_grad", True)):
        with pytest.raises(TypeError, match="needs floating-point data"):
            switch(Tensor(data))
    with pytest.raises(TypeError, match="got dtype int64"):
        Tensor([1.0], dtype=np.int64, requires_grad=True)
    assert Tensor(np.abs(data), dtype=float, requires_grad=True).requires_grad


def test_requires_grad_of_a_computed_value_cannot_be_changed():
    y = leaf(1.0) * 2
    for switch in (lambda: y.requires_grad_(False), lambda: setattr(y, "requires_grad", False)):
        with pytest.raises(RuntimeError, match=r"computed by np\.multiply; use \.detach"):
            switch()


@pytest.mark.parametrize(
    "data", [None, "text", object(), ["a"], [None], {"a": 1}, {1.0}, Fraction(1)]
)
def test_a_tensor_holds_numbers(data):
    with pytest.raises(TypeError, match=r"Tensor\(\) expects numbers, got"):
        Tensor(data)


def test_a_tensor_of_tensors():
    x = leaf(1.0)
    with pytest.raises(TypeError, match=r"was given a Tensor; .*detach"):
        Tensor(x)
    with pytest.raises(TypeError, match=r"cannot become a plain array.*np\.stack"):
        Tensor([x, x])
    with pytest.raises(ValueError, match="inhomogeneous"):
        Tensor([1, [2, 3]])
    with pytest.raises(TypeError):
        Tensor(1.0, True)


# ---------------------------------------------------------------------------- plain arrays


@pytest.mark.parametrize("x", [leaf(1.0), leaf(1.0).sum(), leaf(1.0, 2.0) * 2])
@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        np.array,
        np.ascontiguousarray,
        lambda x: x.numpy(),
        lambda x: np.array([x, x]),
        lambda x: np.array([x, x], dtype=object),
        lambda x: np.sum([x, x]),
        lambda x: np.exp([x, x]),
        lambda x: np.add(x, [x]),
        lambda x: [x] * x,
        lambda x: np.full(2, x),
        lambda x: np.ones(x.shape).dot(x),
        lambda x: np.random.default_rng(0).normal(x),
    ],
)
def test_a_tensor_with_a_graph_does_not_become_a_plain_array(convert, x):
    with pytest.raises(TypeError, match=r"cannot become a plain array.*\.detach\(\)"):
        convert(x)


# --------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize(
    "write",
    [
        lambda x: np.add(x, 1, out=x),
        lambda x: np.add(np.ones(3), 1, out=x),
        lambda x: np.add(np.ones(3), 1, x),
        lambda x: np.sum(np.ones((3, 3)), axis=0, out=x),
        lambda x: np.add.reduce(np.ones((3, 3)), out=x),
        lambda x: np.divmod(np.ones(3), 1, out=(np.ones(3), x)),
        lambda x: np.add.at(x, [0], 1.0),
        lambda x: np.maximum.at(x, [0], 1.0),
        lambda x: np.copyto(x, 1.0),
        lambda x: np.put(x, [0], 1.0),
        lambda x: np.place(x, x > 1, [1.0]),
        lambda x: np.putmask(x, x > 1, 1.0),
        lambda x: np.put_along_axis(x, np.array([0]), 1.0, 0),
        lambda x: np.fill_diagonal(x, 1.0),
        lambda x: np.nan_to_num(x, copy=False),
        lambda x: np.nan_to_num(x, False),
    ],
)
def test_functions_do_not_write_into_a_tensor(write, tracked):
    x = Tensor([1.0, 2.0, 3.0], requires_grad=tracked)
    with pytest.raises(TypeError, match="cannot write into a Tensor"):
        write(x)
    with no_grad(), pytest.raises(TypeError, match="cannot write into a Tensor"):
        write(x)
    assert x.tolist() == [1, 2, 3]


def in_place_add(array, x):
    array += x


@pytest.mark.parametrize(
    "write",
    [
        lambda array, x: np.exp(x, out=array),
        lambda array, x: np.exp(x, array),
        lambda array, x: np.sum(x, axis=0, out=array),
        lambda array, x: np.clip(x, 0, 1, out=array),
        in_place_add,
        lambda array, x: np.add.at(array, slice(None), x),
        lambda array, x: np.copyto(array, x),
        lambda array, x: np.put(array, [0, 1, 2], x),
        lambda array, x: array.__setitem__(slice(None), x),
    ],
)
def test_a_gradient_is_not_lost_in_an_array_that_is_written_into(write):
    array = np.zeros(3)
    x = leaf(1.0, 2.0, 3.0)
    with pytest.raises(TypeError, match=r"gradient.*\.detach\(\)"):
        write(array, x)
    assert array.tolist() == [0, 0, 0]


def test_items_cannot_be_assigned():
    for x in (leaf(1.0, 2.0), Tensor([1.0, 2.0])):
        with pytest.raises(TypeError, match=r"item assignment.*np\.where"):
            x[0] = 5.0
        with pytest.raises(TypeError, match=r"item assignment.*np\.where"):
            x[x > 1] += 1


def test_a_leaf_that_requires_a_gradient_is_changed_under_no_grad_only():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match=r"`with no_grad\(\):`"):
        x += 1
    with pytest.raises(RuntimeError, match=r"`with no_grad\(\):`"):
        x %= 1
    assert x.tolist() == [1]


@pytest.mark.parametrize("name", ["sort", "partition", "fill", "put", "resize", "itemset"])
def test_methods_with_which_an_array_changes_itself_say_what_to_write(name):
    for x in (leaf(2.0, 1.0), Tensor([2.0, 1.0])):
        with pytest.raises(AttributeError, match=rf"has no {name}; write (np\.|x\.data = )"):
            getattr(x, name)
    assert "sort" not in dir(x)


TIMES = 3.0
HOLED, TURNS = np.array([1.0, np.nan, np.inf]), np.array([0.0, 2.9, 6.1])


@pytest.mark.parametrize(
    ("call", "mend", "write"),
    [
        (lambda t: np.full(3, t), "t * np.ones(shape)", lambda t: t * np.ones(3)),
        (lambda t: np.full((2, 3), t), "np.broadcast_to", lambda t: np.broadcast_to(t, (2, 3))),
        (lambda t: np.full_like(TURNS, t), "t * np.ones_like", lambda t: t * np.ones_like(TURNS)),
        (lambda t: np.full_like(TURNS, fill_value=t), "np.broadcast_to(t, a.shape)",
         lambda t: np.broadcast_to(t, TURNS.shape)),
        (lambda t: np.nan_to_num(HOLED[:2], nan=t), "np.where(np.isnan(x), t, x)",
         lambda t: np.where(np.isnan(HOLED[:2]), t, HOLED[:2])),
        (lambda t: np.nan_to_num(HOLED, posinf=t, nan=0), "np.isposinf",
         lambda t: np.where(np.isposinf(HOLED), t, [1, 0, 0])),
        (lambda t: np.unwrap(TURNS, period=t), "t * np.unwrap(x / t, period=1)",
         lambda t: t * np.unwrap(TURNS / t, period=1)),
        (lambda t: TURNS.dot(t), "np.dot(a, t)", lambda t: np.dot(TURNS, t)),
        (lambda t: TURNS.clip(0, t), "np.clip(a, low, high)", lambda t: np.clip(TURNS, 0, t)),
        (lambda t: np.logspace(0, t, 3), "np.linspace", lambda t: 10 ** np.linspace(0, t, 3)),
        (lambda t: np.geomspace(1, t, 3), "np.exp(np.linspace",
         lambda t: np.exp(np.linspace(np.log(1), np.log(t), 3))),
    ],
)  # fmt: skip
def test_calls_that_take_numbers_only_say_what_to_write(call, mend, write):
    with pytest.raises(TypeError, match=re.escape(mend)) as caught:
        call(Tensor(TIMES, requires_grad=True))
    assert "copyto" not in str(caught.value)
    np.testing.assert_allclose(write(Tensor(TIMES, requires_grad=True)).data, call(TIMES))


@pytest.mark.parametrize("name", ["nan", "posinf", "neginf"])
def test_keywords_that_take_numbers_only_say_what_to_write(name):
    for x in (leaf(1.0), Tensor([1.0])):
        with pytest.raises(TypeError, match=r"write np\.where\(np\.isnan\(x\), t, x\)"):
            np.nan_to_num(x, **{name: leaf(TIMES)})
        with pytest.raises(TypeError, match=r"write t \* np\.unwrap\(x / t, period=1\)"):
            np.unwrap(x, period=leaf(TIMES))


# ------------------------------------------------------------------------------------ grad


def test_what_grad_may_be_set_to():
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    new = np.array([1, 2])
    x.grad = new
    assert x.grad.dtype == np.float32
    new[0] = 5
    assert x.grad.tolist() == [1, 2]
    x.grad *= 3
    assert x.grad.tolist() == [3, 6]
    for wrong in ([1.0, 2.0], 1.0, "a", leaf(1.0, 2.0), np.ones(2) * 1j, np.array(["a", "b"])):
        with pytest.raises(TypeError, match=r"array of real numbers, got .*x.grad = None"):
            x.grad = wrong
    with pytest.raises(ValueError, match=r"shape \(1,\) does not fit shape \(2,\)"):
        x.grad = np.ones(1)
    x.grad = None
    assert x.grad is None


# -------------------------------------------------------------------------------- operands


@pytest.mark.parametrize("operand", [None, "text", object(), [None], ["a"], {}, Fraction(1, 2)])
def test_operands_that_are_no_real_numbers(operand):
    x = leaf(1.0, 2.0)
    for call in (
        lambda: x + operand,
        lambda: operand + x,
        lambda: np.multiply(x, operand),
        lambda: x @ [operand, operand],
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
    y = x * 1
    with pytest.raises(TypeError):
        y += operand


@pytest.mark.parametrize("dtype", [object, str, "M8[s]"])
def test_astype_refuses_what_would_lose_the_gradient(dtype):
    with pytest.raises(TypeError):
        leaf(1.0).astype(dtype)


# ------------------------------------------------------------------- unsupported functions


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: np.unique(x), r"np\.unique"),
        (lambda x: np.linalg.eig(np.diag(x)), r"np\.linalg\.eig"),
        (lambda x: np.add.reduceat(x, [0, 1]), r"np\.add\.reduceat"),
        (lambda x: np.nextafter(x, 1.0), r"np\.nextafter"),
    ],
)
def test_functions_without_a_derivative_say_what_to_do(call, name):
    with pytest.raises(TypeError, match=name + r" is not supported .*defvjp, .*\.detach\(\)"):
        call(leaf(1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.exp(x, where=np.ones(3, bool)),
        lambda x: np.exp(x, where=Tensor(True)),
        lambda x: np.sum(np.ones(3), where=x),
        lambda x: np.exp(x, dtype=np.float32),
        lambda x: np.sum(x, initial=x[0]),
        lambda x: np.sum(x.detach(), initial=x[0]),
        lambda x: np.max(x.detach(), initial=x[0]),
    ],
)
def test_arguments_without_a_derivative_are_refused(call):
    with pytest.raises(TypeError, match=r"not differentiable .*argument"):
        call(leaf(1.0, 2.0, 3.0))


def test_a_result_without_gradients_is_refused():
    with pytest.raises(TypeError, match=r"np\.sum gave a result of dtype"):
        np.sum(leaf(1.0, 2.0), dtype=int)


# ------------------------------------------------------------ silent losses of gradients
#
# Every public function of NumPy is called with a tensor in each place where it takes floats.
# Then the result has a graph, or does not depend on the tensor, or there is an exception.

VECTOR, MATRIX = np.array([0.7, 1.6, 2.4]), np.array([[3.3, 0.6], [0.4, 4.1]])
MASK, NUMBERS = np.array([True, False, True]), np.array([0, 2, 1])

CALLS = [
    (VECTOR,),
    (MATRIX,),
    ([VECTOR, VECTOR],),
    (VECTOR, VECTOR),
    (MATRIX, MATRIX),
    (MATRIX, VECTOR[:2]),
    (VECTOR, 1),
    (MATRIX, 0),
    (1, VECTOR),
    (VECTOR, NUMBERS),
    (NUMBERS, VECTOR),
    (NUMBERS, [VECTOR, VECTOR, VECTOR]),
    (MASK, VECTOR),
    ([MASK], [VECTOR]),
    ([VECTOR, VECTOR], 1),
    (VECTOR, VECTOR, VECTOR),
    (VECTOR, 1, VECTOR),
    (MASK, VECTOR, VECTOR),
    (VECTOR, NUMBERS, VECTOR),
    (NUMBERS, VECTOR, 5),
    ("i,i", VECTOR, VECTOR),
]
# They write files, change NumPy's settings or give memory that nobody has written.
UNSAFE = {"as_strided", "save", "savez", "savez_compressed", "savetxt", "fromfile", "load"}
UNSAFE |= {"loadtxt", "genfromtxt", "fromregex", "set_printoptions", "seterr", "seterrcall"}
UNSAFE |= {"setbufsize", "empty", "empty_like", "info", "test", "show_config", "show_runtime"}


def public_functions():
    seen = set()
    modules = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft, "np.emath": np.emath}
    modules["np.lib.stride_tricks"] = np.lib.stride_tricks
    for module_name, module in modules.items():
        for name in sorted(set(dir(module)) - UNSAFE):
            function = getattr(module, name)
            if name.startswith("_") or not callable(function) or isinstance(function, type):
                continue
            if id(function) not in seen:
                seen.add(id(function))
                yield f"{module_name}.{name}", function
            if isinstance(function, np.ufunc) and function.nin == 2:
                for method in ("reduce", "accumulate", "outer", "reduceat", "at"):
                    yield f"{module_name}.{name}.{method}", getattr(function, method)
    for name in ("dot", "clip", "searchsorted", "put", "choose", "itemset", "__setitem__"):
        if hasattr(np.ndarray, name):
            yield f"ndarray.{name}", getattr(np.ndarray, name)


def replace_floats(value, function):
    """Copy an argument, and apply `function` to each array of floats in it."""
    if isinstance(value, list):
        return [replace_floats(item, function) for item in value]
    if isinstance(value, dict):
        return {key: replace_floats(item, function) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return function(value.copy()) if value.dtype == float else value.copy()
    return value


def flatten(value):
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flatten(item)]
    return [value]


def numbers_in(value):
    values = [item.data if isinstance(item, Tensor) else item for item in flatten(value)]
    return [
        np.asarray(v) for v in values if isinstance(v, (np.ndarray, np.generic, float, complex))
    ]


def attempt(function, args, kwargs):
    """Return the result and the arguments, which may have been written into; None if it fails."""
    try:
        return function(*args, **kwargs), args, kwargs
    except Exception:
        return None


def loses_gradient(function, args, kwargs, place):
    """Call with a tensor at `place`; if there is no graph, see whether values depend on it."""

    def call(change):
        def change_at(key, value):
            changes = change if key == place or place == "everywhere" else (lambda array: array)
            # Distinct values, so that nothing that competes is equal.
            factor = 1 + 0.137 * (key if isinstance(key, int) else 3)
            return replace_floats(value, lambda array: changes(array * factor))

        return attempt(
            function,
            [change_at(i, arg) for i, arg in enumerate(args)],
            {name: change_at(name, arg) for name, arg in kwargs.items()},
        )

    with_tensor = call(lambda array: Tensor(array, requires_grad=True))
    if with_tensor is None:
        return False
    if any(isinstance(item, Tensor) and item.requires_grad for item in flatten(with_tensor[0])):
        return False
    if with_tensor[0] is None and not any(isinstance(a, np.ndarray) for a in args[:1]):
        return False
    plain = call(lambda array: array)
    moved = call(
        lambda array: array * (1 + 1e-7) + 1e-7 * np.cos(np.arange(array.size)).reshape(array.shape)
    )
    if plain is None or moved is None:
        return False

    def observed(outcome):
        others = [arg for i, arg in enumerate(outcome[1]) if i != place != "everywhere"]
        return numbers_in([outcome[0], others if with_tensor[0] is None else []])

    return any(
        a.shape != b.shape or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(observed(plain), observed(moved), strict=True)
    )


def find_losses(name, function):
    if name == "np.bmat":
        return []  # returns None for what is neither text, a list nor an array
    losses = []
    for args in CALLS:
        if isinstance(args[0], str) != name.endswith("einsum"):
            continue
        if attempt(function, [replace_floats(arg, np.copy) for arg in args], {}) is None:
            continue
        places = [i for i, arg in enumerate(args) if any(a.dtype == float for a in numbers_in(arg))]
        losses += [
            f"{name}(" + ", ".join(map(str, args)) + f"), tensor {place}"
            for place in [*places, "everywhere"]
            if loses_gradient(function, args, {}, place)
        ]
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return losses
    keywords = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keywords = [keyword for keyword in keywords if keyword not in ("dtype", "out", "like")]
    for keyword, args in itertools.product(keywords, [(), (VECTOR,), (NUMBERS,), (VECTOR, VECTOR)]):
        losses += [
            f"{name}({args}, {keyword}={value})"
            for value in (VECTOR, [VECTOR, VECTOR])
            if attempt(function, *replace_floats([[*args], {keyword: value}], np.copy)) is not None
            and loses_gradient(function, args, {keyword: value}, keyword)
        ]
    return losses


# They are in the set of constant functions, though not constant in every argument.
def all_losses(functions):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [loss for name, function in functions for loss in find_losses(name, function)]


def test_no_numpy_function_loses_a_gradient_silently():
    functions = list(public_functions())
    assert len(functions) > 300
    losses = all_losses(functions)
    assert not losses, "\n".join(losses)


def test_the_search_for_losses_finds_one():
    def loses(x, y):
        return np.sum(x) + np.sum(y.detach().numpy() if isinstance(y, Tensor) else y)

    def writes(array, y):
        array[...] = y.detach().numpy() if isinstance(y, Tensor) else y

    assert loses_gradient(loses, (NUMBERS, VECTOR), {}, 1)
    assert loses_gradient(loses, (NUMBERS,), {"y": VECTOR}, "y")
    assert loses_gradient(writes, (np.zeros(3), VECTOR), {}, 1)
    assert not loses_gradient(np.add, (NUMBERS, VECTOR), {}, 1)
    assert not loses_gradient(np.floor, (VECTOR,), {}, 0)


# ------------------------------------------------------------------------- other libraries


def test_functions_of_scipy_are_called_by_their_names():
    special = pytest.importorskip("scipy.special")
    x = leaf(0.5, 0.25)
    for name in "expit", "erf", "gammaln", "ndtr":
        with pytest.raises(TypeError, match=rf"^scipy\.special\.{name} is not .*defvjp.*detach"):
            getattr(special, name)(x)
        with no_grad():
            np.testing.assert_array_equal(getattr(special, name)(x), getattr(special, name)(x.data))
    with pytest.raises(TypeError, match=r"^scipy\.special\.expit with out= .*detach"):
        special.expit(x, out=np.zeros(2))


def test_a_ufunc_of_the_users_own_is_called_by_its_name():
    def double(x):
        return 2 * x

    with pytest.raises(TypeError, match=r"^double \(vectorized\) is not .*defvjp.*detach"):
        np.frompyfunc(double, 1, 1)(leaf(1.0))


def test_a_function_of_a_script_is_called_by_its_name_alone():
    def triple(x):
        return 3 * x

    triple.__module__, triple.__qualname__ = "__main__", "triple"
    defvjp(triple_of := primitive(triple), lambda g, out, x: None)
    with pytest.raises(TypeError, match="the VJP of triple returned None"):
        triple_of(leaf(1.0, 2.0)).sum().backward()


@pytest.mark.parametrize("x", [leaf(0.5, 0.25), leaf(0.5, 0.25) * 2])
def test_a_plot_of_what_has_a_graph_says_detach(x):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    for plot in pyplot.plot, pyplot.semilogy, pyplot.hist, lambda y: pyplot.scatter([1, 2], y):
        with pytest.raises((RuntimeError, TypeError), match=r"\.detach\(\)"):
            plot(x)
        plot(x.detach())
    pyplot.close("all")


def test_a_state_that_is_carried_over_batches_is_told_to_be_cut_off():
    weight = leaf(0.5)
    state = np.tanh(weight * Tensor([1.0]))
    state.sum().backward()
    loss = np.tanh(weight * state).sum()
    with pytest.raises(RuntimeError, match=r"from one batch to the next.*state\.detach\(\)"):
        loss.backward()
    np.tanh(weight * state.detach()).sum().backward()


def test_what_has_no_axis():
    for use, words in (len, r"len\(\) of"), (list, "iteration over"):
        with pytest.raises(TypeError, match=rf"^{words} a 0-d tensor.*ravel"):
            use(leaf(1.0).sum())


def test_a_power_takes_no_modulus():
    with pytest.raises(TypeError, match=r"modulus; write \(x \*\* y\) % modulus"):
        pow(leaf(1.0), 2, 3)


def test_pytorchs_keyword_of_a_function_names_numpys():
    for x in Tensor([1.0, 2.0]), Tensor([1.0, 2.0], requires_grad=True):
        with pytest.raises(TypeError, match=r"no argument dim; NumPy calls it axis"):
            F.softmax(x, dim=0)


def test_swapped_arguments_of_a_loss_are_told_by_its_signature():
    with pytest.raises(TypeError, match=r"cross_entropy\(logits, labels\) needs integer labels"):
        F.cross_entropy(np.array([0, 1]), Tensor([[1.0, 2.0], [3.0, 4.0]]))

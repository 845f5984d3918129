"""Misuse fails where it happens, and its message says what to write instead."""

import re
from fractions import Fraction

import numpy as np
import pytest
from helpers import leaf

import microgrand
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
        with pytest.raises(TypeError, match=r"item assignment.*np\.where.*p\.data\[i\] = y"):
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


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("chunk", [[2, 1], [3, 4]]),
        ("split", [[2, 1], [3, 4]]),
        ("unbind", [2, 1, 3, 4]),
        ("topk", [3, 4]),
        ("where", [2, 1, 0, 0]),
        ("eq", [False, True, False, False]),
        ("amax", 4),
        ("type_as", [2, 1, 3, 4]),
        ("expand_as", [2, 1, 3, 4]),
        ("repeat_interleave", [2, 2, 1, 1, 3, 3, 4, 4]),
        ("bool", [True] * 4),
    ],
)
def test_what_is_written_instead_of_pytorchs_methods(method, expected):
    names = {"x": leaf(2.0, 1.0, 3.0, 4.0), "y": np.array([0, 1, 0, 0]), "condition": [1, 1, 0, 0]}
    names |= {"how_many": 2, "axis": 0, "k": 2, "repeats": 2, "np": np}
    with pytest.raises(AttributeError, match=f"^a Tensor has no {method}; write ") as caught:
        getattr(names["x"], method)
    written = re.split("; write |, ?and |, which ", str(caught.value))[1]
    result = eval(written, names)
    assert [x.tolist() for x in result] == expected if np.ndim(expected) else result == expected


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("zeros", r"; NumPy's works on tensors: np\.zeros"),
        ("cat", r"; write np\.concatenate\(tensors, axis\)"),
        ("softmax", r"; it is microgrand\.nn\.functional\.softmax"),
        ("cuda", "; write nothing: there are no devices"),
        ("Linear", r"; it is microgrand\.nn\.Linear"),
        ("Adam", r"; it is microgrand\.optim\.Adam"),
        ("batches", r"; it is microgrand\.data\.batches"),
        ("utils", r"; write microgrand\.data\.batches\(.* for a DataLoader"),
        ("nonsense", ""),
    ],
)
def test_functions_of_pytorchs_namespace_are_named_elsewhere(name, hint):
    with pytest.raises(AttributeError, match=f"'microgrand' has no attribute '{name}'{hint}$"):
        getattr(microgrand, name)


def test_the_module_of_the_tensor_is_not_pytorchs_function():
    with pytest.raises(TypeError, match=r"is a module, .*; write microgrand\.Tensor\(data\)"):
        microgrand.tensor([1.0], requires_grad=True)


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


def test_pytorchs_keyword_of_numpys_function_names_numpys_and_the_other_way_round():
    for x in Tensor([1.0, 2.0]), Tensor([1.0, 2.0], requires_grad=True):
        for name in ("softmax", "log_softmax", "logsumexp", "softmin", "glu", "normalize"):
            with pytest.raises(
                TypeError, match=rf"no argument axis; PyTorch calls it dim, as in {name}\(x, dim="
            ):
                getattr(F, name)(x, axis=0)
        with pytest.raises(TypeError, match=r"similarity has no argument axis; PyTorch calls it d"):
            F.cosine_similarity(x, x, axis=0)
        for call in (
            lambda x=x: F.logsumexp(x, keepdims=True),
            lambda x=x: F.pairwise_distance(x, x, keepdims=True),
        ):
            with pytest.raises(TypeError, match="no argument keepdims; PyTorch calls it keepdim"):
                call()
        with pytest.raises(
            TypeError, match=r"^np\.sum has no argument dim.* as in np\.sum\(x, axis="
        ):
            x.sum(dim=0)


def test_swapped_arguments_of_a_loss_are_told_by_its_signature():
    with pytest.raises(TypeError, match=r"cross_entropy\(logits, labels\) needs integer labels"):
        F.cross_entropy(np.array([0, 1]), Tensor([[1.0, 2.0], [3.0, 4.0]]))


def test_a_primitive_may_have_an_argument_of_pytorchs_name():
    @primitive
    def halved(x, dim=0):
        return x / (2 + dim)

    defvjp(halved, lambda g, out, x, dim=0: g / (2 + dim))
    x = leaf(4.0)
    halved(x, dim=2).backward()
    assert x.grad == 0.25

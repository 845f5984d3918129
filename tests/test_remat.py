"""`remat`: the same values and derivatives from less memory."""

import copy
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
from compiled import assert_runs_as_eager, assert_same_bits
from hypothesis import given
from hypothesis import strategies as st

from microgrand import (
    Tensor,
    compile,
    detect_anomaly,
    engine,
    grad,
    hessian,
    manual_seed,
    nn,
    no_grad,
    optim,
    remat,
    value_and_grad,
)
from microgrand.testing import gradcheck

W = np.linspace(-1, 1, 9).reshape(3, 3)


def block(x, w):
    return np.tanh(x @ w) * x


def chain(function, depth=3):
    def f(x, w):
        for _ in range(depth):
            x = function(x, w)
        return x

    return f


@given(st.integers(0, 4), st.integers(0, 99))
def test_values_and_gradients_are_those_of_the_function(depth, seed):
    x = np.random.default_rng(seed).normal(size=(2, 3))
    found = []
    for function in block, remat(block), remat(lambda x, w: remat(block)(x, w)):
        a, b = Tensor(x, requires_grad=True), Tensor(W.copy(), requires_grad=True)
        out = chain(function, depth)(a, b)
        out.sum().backward()
        found.append([out.data, a.grad, 0 if b.grad is None else b.grad])
    for other in found[1:]:
        np.testing.assert_array_equal(other[0], found[0][0])
        np.testing.assert_allclose(other[1], found[0][1], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(other[2], found[0][2], rtol=1e-12, atol=1e-15)


def test_derivatives_of_any_order():
    f = chain(remat(block), 2)
    x = np.array([[0.3, -0.7, 1.1]])
    assert gradcheck(f, x, W, order=2)
    once = chain(block, 2)
    for argnums in (0, 1):
        np.testing.assert_allclose(
            hessian(lambda x, w: f(x, w).sum(), argnums)(x, W),
            hessian(lambda x, w: once(x, w).sum(), argnums)(x, W),
            atol=1e-12,
        )
    third = grad(grad(grad(lambda x: remat(lambda x: x**5)(x))))
    assert third(2.0) == 5 * 4 * 3 * 4


def test_tensors_from_elsewhere_get_their_gradients():
    for wrap in (lambda f: f), remat:
        net = nn.Linear(3, 3, dtype=float)
        net.weight.data, net.bias.data = W, np.ones(3)
        x = Tensor(np.ones((2, 3)), requires_grad=True)
        scale = Tensor(2.0, requires_grad=True)
        computed = np.exp(scale) * x  # with a graph of its own, and used outside, too
        computed.retain_grad()

        @wrap
        def f(y, net=net, computed=computed):
            return np.sin(net(y) * computed) + computed

        (f(x) * computed).sum().backward()
        grads = [net.weight.grad, net.bias.grad, x.grad, scale.grad, computed.grad]
        if wrap is not remat:
            expected = grads
    for one, other in zip(grads, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_variable_of_a_transform_from_elsewhere():
    def f(x):
        return remat(lambda y: y * x)(np.sin(x)) + grad(lambda z: remat(lambda: z**2 * x)())(x)

    np.testing.assert_allclose(grad(f)(1.5), np.sin(1.5) + 1.5 * np.cos(1.5) + 4 * 1.5)


def test_nests_of_arguments_and_outputs():
    def f(pairs, *, scale, name=None):
        assert name == "n"
        a, (b,) = pairs["a"], pairs["b"]
        return {"sum": a + b, "rest": [a * b * scale, "text", None, b.data]}, scale

    def total(a, b, scale, wrap):
        out, same = wrap(f)({"a": a, "b": (b,)}, scale=scale, name="n")
        assert out["rest"][1:3] == ["text", None]
        return (out["sum"] ** 2).sum() + out["rest"][0].sum() + same.sum()

    args = np.array([1.0, 2.0]), np.array([[3.0, 4.0]]), np.array(0.5)
    expected = grad(lambda *args: total(*args, lambda f: f), (0, 1, 2))(*args)
    found = grad(lambda *args: total(*args, remat), (0, 1, 2))(*args)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other)


def test_the_very_same_masks():
    x = np.ones((4, 6), np.float32)
    found = []
    for wrap in (lambda f: f), remat, (lambda f: remat(remat(f))):
        manual_seed(0)
        net = nn.Sequential(
            nn.Linear(6, 6), nn.Dropout(0.5), nn.Dropout(0.5, rng=np.random.default_rng(1)),
            nn.AlphaDropout(0.2), nn.DropConnect(6, 2, 0.25),
        )  # fmt: skip
        out = wrap(net)(x)
        out.sum().backward()
        found.append([out.data, *[p.grad for p in net.parameters()], np.float64(nn.Dropout().draw(
            (3,), np.random.default_rng(0)).sum())])  # fmt: skip
    for other in found[1:]:
        for one, expected in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(one, expected)


def test_masks_that_are_held_are_kept():
    net = nn.Sequential(nn.Linear(3, 3, dtype=float), nn.Dropout(0.5))
    assert gradcheck(nn.DropoutMasks().hold(remat(net)), np.ones((2, 3)), order=2)


def test_memory_is_smaller():
    def peak(wrap):
        x = Tensor(np.ones(1 << 16), requires_grad=True)
        dropout = nn.Dropout(0.5)

        def layer(y):
            for _ in range(8):
                y = np.tanh(y) * 1.5
            return dropout(y)

        tracemalloc.start()
        y = x
        for _ in range(10):
            y = wrap(layer)(y)
        loss = y.sum()
        kept = tracemalloc.get_traced_memory()[0]
        loss.backward()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return kept, most

    kept, most = peak(lambda f: f)
    kept_by_remat, most_by_remat = peak(remat)
    assert kept_by_remat < kept / 8
    assert most_by_remat < most / 3


def test_only_what_is_needed_is_computed_again():
    calls = []

    def f(x):
        calls.append(x)
        return np.sin(x)

    remat(f)(Tensor(1.0, requires_grad=True)).backward()
    assert len(calls) == 2
    with no_grad():
        remat(f)(Tensor(1.0, requires_grad=True))
    assert len(calls) == 3
    assert isinstance(remat(f)(1.0), float)
    remat(f)(Tensor(1.0))
    assert len(calls) == 5


the_net = None  # a global name


def test_running_statistics_count_a_batch_once(monkeypatch):
    class Center(nn.Module):
        def __init__(self):
            self.mean, self.count = nn.Buffer(np.zeros(2)), nn.Buffer(0)
            self.weight = nn.Parameter(np.ones(2))
            self.constant = nn.Buffer(np.broadcast_to(1.0, 2))  # read-only

        def forward(self, x):
            self.mean.data = 0.9 * self.mean.data + 0.1 * np.mean(x, axis=0).data
            self.count += 1
            return (x - np.mean(x, axis=0)) * self.weight

    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)

    class Owner:
        def __init__(self, net):
            self.nets = [net]

        def __call__(self, x):
            return self.nets[0](x)

    def again(net):
        def f(x, more=True):
            return f(x, False) if more else net(x)

        return f

    calls = [
        *(lambda net: net, lambda net: net.forward, lambda net: lambda x: net(x), again),
        *(lambda net: lambda x, net=net: net(x), lambda net: lambda x, *, net=net: net(x)),
        *(lambda net: Owner(net), lambda net: Owner(net).__call__),
        *(lambda net: lambda x: the_net(x), lambda net: lambda x: (lambda: the_net(x))()),
    ]
    for call in calls:
        net = Center()
        monkeypatch.setitem(globals(), "the_net", net)
        (remat(call(net))(x) ** 2).sum().backward()
        assert net.count.item() == 1
        np.testing.assert_allclose(net.mean.data, [0.2, 0.3])


def test_other_values_the_second_time_are_an_error():
    rng, factors = np.random.default_rng(0), [1.0]
    x = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(RuntimeError, match=r"computed other values.*give them as arguments"):
        remat(lambda x: x * rng.random())(x).sum().backward()
    out = remat(lambda x: x * factors[0])(x).sum()
    factors[0] = 2.0
    with pytest.raises(RuntimeError, match="computed other values"):
        out.backward()
    assert x.grad is None
    factors[0] = 1.0
    out.backward()
    np.testing.assert_array_equal(x.grad, np.ones(3))
    layer = nn.Linear(3, 1, dtype=float)
    out = remat(layer)(x).sum()
    optim.SGD(layer.parameters(), 0.1)
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    out = remat(net)(x).sum()
    net.eval()
    with pytest.raises(RuntimeError, match="used 0 of 1 masks"):
        out.backward()


def test_misuse():
    with pytest.raises(TypeError, match="remat expects a function"):
        remat(3)
    x = Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(TypeError, match=r"several dtypes, \['float32', 'float64'\]"):
        remat(lambda x: (x, x.astype(np.float32)))(x)


def test_nan_is_the_same_again():
    x = Tensor(np.array([np.nan, 1.0]), requires_grad=True)
    remat(lambda x: x * 2)(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_anomalies_are_found():
    x = Tensor(np.array([0.0, 1.0]), requires_grad=True)
    with detect_anomaly(), np.errstate(divide="ignore"):
        out = remat(np.sqrt)(x).sum()
        with pytest.raises(FloatingPointError, match="remat_output"):
            out.backward()
    assert engine.on_record is None


def test_threads_do_not_see_each_other():
    results = []

    def work():
        for seed in range(20):
            x = Tensor(np.full(3, seed / 10), requires_grad=True)
            chain(remat(lambda x, w: np.sin(x * w)), 4)(x, 0.5).sum().backward()
            y = Tensor(np.full(3, seed / 10), requires_grad=True)
            chain(lambda x, w: np.sin(x * w), 4)(y, 0.5).sum().backward()
            results.append(np.allclose(x.grad, y.grad))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 80
    assert engine.on_record is None


def test_compiled():
    f = chain(remat(block), 2)
    assert_runs_as_eager(
        value_and_grad(lambda x, w: f(x, w).sum()), lambda i: np.full((1, 3), i / 3), lambda i: W
    )

    def train(compiled):
        manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 1))
        optimizer = optim.Adam(net.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (remat(net)(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = compile(step) if compiled else step
        found = [run(np.full((2, 3), i, np.float32)).data.copy() for i in range(6)]
        assert not compiled or (run.eager_calls == 0 and len(run.traces) == 1)
        return [*found, net.state_dict()]

    assert_same_bits(train(True), train(False))


def gates():
    """Layers whose values at first are all the same."""
    return [nn.Parameter(np.ones(2)) for _ in range(3)]


def in_a_loop(x, layers):
    for layer in layers:
        x = remat(lambda x: np.sin(x * layer))(x)  # noqa: B023  # the mistake
    return x


def as_a_function_of_parameters(x, layers):
    class Net(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(2, 2, dtype=float)

        def forward(self, x):
            return remat(self.layer)(x)

    net = Net()
    parameters = {name: leaf(value) for name, value in net.state_dict().items()}
    return nn.utils.functional_call(net, parameters, x)


def with_a_parameter_replaced(x, layers):
    out = remat(lambda x: x * layers[0])(x)
    layers[0] = nn.Parameter(layers[0].detach())
    return out


def with_another_threads_graph(x, layers):
    found = []

    def f(x):
        thread = threading.Thread(target=lambda: found.append(layers[0] * layers[0]))
        thread.start()
        thread.join()
        return x * found.pop()

    return remat(f)(x)


def leaf(value):
    return Tensor(value, requires_grad=True)


@pytest.mark.parametrize(
    "function",
    [
        in_a_loop,
        as_a_function_of_parameters,
        with_a_parameter_replaced,
        with_another_threads_graph,
    ],
)
def test_other_tensors_of_the_same_values_are_an_error(function):
    x = leaf(np.ones(2))
    with pytest.raises(RuntimeError, match=r"used other tensors .* layer=layer"):
        function(x, gates()).sum().backward()
    assert x.grad is None


def test_the_layer_of_a_loop_is_kept_where_it_is_given():
    x, layers = np.ones(2), gates()
    for layer in layers:
        x = remat(lambda x, layer=layer: np.sin(x * layer))(x)
    x.sum().backward()
    assert all(np.all(layer.grad) for layer in layers)


def test_a_parameter_may_be_frozen_and_variables_made_inside_are_new_ones():
    x, frozen, w = leaf(np.ones(2)), leaf(np.ones(2)), leaf(2.0)

    def f(x):
        return np.tanh(x * frozen) * grad(lambda z: np.sin(z) * w)(1.0)

    loss = remat(f)(x).sum()
    frozen.requires_grad = False
    loss.backward()
    np.testing.assert_allclose(w.grad, 2 * np.tanh(1) * np.cos(1))
    np.testing.assert_allclose(x.grad, 2 * np.cos(1) * (1 - np.tanh(1) ** 2))
    assert frozen.grad is None


@pytest.mark.parametrize("given", [True, False])
def test_a_constant_tensor_that_has_changed_is_an_error_whatever_the_values(given):
    x, constant = leaf(0.0), Tensor(2.0)
    loss = remat(np.multiply)(x, constant) if given else remat(lambda x: x * constant)(x)
    constant += 1  # the value is 0 as before, its derivative is not
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    assert x.grad is None


def test_a_list_that_is_changed_after_the_call_changes_no_gradient():
    x, factors = leaf(0.0), [2.0]
    loss = remat(lambda x, factors: x * factors[0])(x, factors)
    factors[0] = 3.0
    loss.backward()
    assert x.grad == 2


def test_threads_inside_are_computed_again_with_the_call():
    def f(x, w):
        parts = []
        threads = [threading.Thread(target=lambda: parts.append(x * w)) for _ in range(2)]
        for thread in threads:
            thread.start()
            thread.join()
        return parts[0] * parts[1]

    w, x = leaf(2.0), leaf(3.0)
    remat(lambda x: f(x, w))(x).backward()
    assert (w.grad, x.grad) == (36, 24)


class Wrapped(nn.Module):
    def __init__(self, wrap, layer, held=True):
        if held:
            self.layer = layer
        self.call = wrap(layer)

    def forward(self, x):
        return self.call(x)


@pytest.mark.parametrize("wrap", [remat, lambda layer: remat(layer.forward)])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_of_a_module_computes_its_own_layers_again(wrap, duplicate):
    net = Wrapped(wrap, nn.Linear(2, 2, dtype=float))
    other = duplicate(net)
    other(np.ones((1, 2))).sum().backward()
    np.testing.assert_array_equal(other.layer.bias.grad, [1, 1])
    assert net.layer.bias.grad is None


def test_a_layer_that_a_module_holds_nowhere_else_is_an_error():
    with pytest.raises(TypeError, match="holds a Linear that is not found there"):
        list(Wrapped(remat, nn.Linear(2, 2), held=False).parameters())
    assert len(list(Wrapped(remat, nn.Linear(2, 2)).parameters())) == 2


def test_methods_may_be_decorated():
    class Scale:
        factor = 3.0

        @remat
        def times(self, x):
            """Multiply."""
            return x * self.factor

    x = leaf(2.0)
    Scale().times(x).backward()
    assert x.grad == 3
    assert Scale.times.__doc__ == "Multiply."


@pytest.mark.parametrize("frozen", ["a", "b", "c", "ab", "bc", "abc"])
@pytest.mark.parametrize("pick", [slice(None), slice(1), slice(1, 2)])
def test_arguments_and_parameters_may_be_frozen_meanwhile(frozen, pick):
    found = []
    for wrap in (lambda f: f), remat:
        tensors = a, b, c = leaf(1.0), leaf(1.0), leaf(1.0)
        z = leaf(2.0)
        outputs = wrap(lambda pair, c=c: [pair[0] * pair[1] ** 2, np.exp(pair[1]), c**3])([a, b])
        loss = z * sum(outputs[pick])
        for name in frozen:
            {"a": a, "b": b, "c": c}[name].requires_grad = False
        loss.backward()
        found.append([tensor.grad for tensor in (*tensors, z)])
    if pick == slice(None):
        assert found[1] == found[0]
    for eager, other in zip(*found, strict=True):  # remat gives zeros where nothing was used
        assert (0 if eager is None else eager) == (0 if other is None else other)


def test_threads_may_go_back_through_one_graph_at_once():
    begun, may_go_on, errors = threading.Event(), threading.Event(), []

    def f(x):
        y = np.sin(x)
        if threading.current_thread() is slow:
            begun.set()
            may_go_on.wait()
        return y * x

    def go_back():
        try:
            loss.backward(retain_graph=True)
        except RuntimeError as error:
            errors.append(error)

    slow = threading.Thread(target=go_back)
    x = leaf(1.0)
    loss = remat(f)(x)
    slow.start()
    begun.wait()
    loss.backward(retain_graph=True)
    may_go_on.set()
    slow.join()
    assert not errors
    np.testing.assert_allclose(x.grad, 2 * (np.sin(1) + np.cos(1)))


TRANSFORMED = {
    "of its argument": lambda x, wrap: wrap(lambda y: slope_at_1(lambda z: np.sin(z * y)))(x),
    "and more": lambda x, wrap: wrap(lambda y: y * y + slope_at_1(lambda z: np.sin(z * y)))(x),
    "of what is around": lambda x, wrap: wrap(lambda y: y * slope_at_1(lambda z: np.sin(z * x)))(
        3.0
    ),
    "of both": lambda x, wrap: wrap(lambda y: slope_at_1(lambda z: np.sin(z * y * x)))(np.exp(x)),
    "nested": lambda x, wrap: wrap(lambda y: wrap(lambda z: slope_at_1(lambda u: u**3 * x * z))(y))(
        x
    ),
}


def slope_at_1(function):
    return grad(function)(1.0)


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transforms_inside(name):
    def once(x):
        return TRANSFORMED[name](x, lambda function: function)

    def again(x):
        return TRANSFORMED[name](x, remat)

    for _ in range(3):
        once, again = grad(once), grad(again)
        np.testing.assert_allclose(again(0.7), once(0.7), rtol=1e-12)
    x = leaf(0.7)
    TRANSFORMED[name](x, remat).backward()
    np.testing.assert_allclose(x.grad, grad(lambda x: TRANSFORMED[name](x, remat))(0.7))

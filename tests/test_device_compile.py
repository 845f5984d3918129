"""Compiled steps and functions on a device: as eager ones, and what compile refuses there."""

import types

import numpy as np
import pytest
from device_array import DeviceArray, DeviceGenerator, on_host
from device_cases import LAYERS, LOSSES, OPTIMIZERS, TRANSFORMS, leaves_of, on_device

import microgrand
from microgrand import Tensor, manual_seed, nn, optim
from microgrand.nn import functional as F


def assert_same(there, expected):
    """Compare arrays of the device: bit by bit where the stand-in computes with NumPy."""
    assert type(there) is type(expected)
    if isinstance(expected, (tuple, list)):
        for x, y in zip(there, expected, strict=True):
            assert_same(x, y)
    elif isinstance(expected, Tensor):
        assert_same(there.data, expected.data)
    elif isinstance(expected, (DeviceArray, np.ndarray)):
        x, y = on_host(there), on_host(expected)
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        if DeviceArray.library is np:
            np.testing.assert_array_equal(x, y)
            np.testing.assert_array_equal(np.signbit(x), np.signbit(y))
        else:  # sums that are not always added in one order
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    else:
        assert there == expected


def state_of(module, optimizer):
    """List what a step changes."""
    tensors = [*module.parameters(), *module.buffers()]
    masks = [layer.mask for layer in module.modules() if hasattr(layer, "mask")]
    memory = [array for arrays in optimizer.memory.values() for array in arrays]
    return [*(t.data for t in tensors), *(p.grad for p in module.parameters()), *masks, *memory]


def assert_steps_as_eager(make, arguments, between=lambda number, *found: None):
    """Compare four steps with eager ones; `make` returns a module, its optimizer and the step."""
    eager_module, eager_optimizer, eager = make()
    module, optimizer, step = make()
    compiled = microgrand.compile(step)
    for number in range(4):
        between(number, eager_module, eager_optimizer)
        between(number, module, optimizer)
        given = arguments(number)
        DeviceArray.looks = DeviceArray.moves = 0
        expected = eager(*given)
        most = DeviceArray.moves  # of masks, where NumPy's generator draws them
        DeviceArray.looks = DeviceArray.moves = 0
        found = compiled(*given)
        if number > 1:
            assert DeviceArray.looks == 0
            assert DeviceArray.moves <= most
        assert_same(found, expected)
        assert_same(state_of(module, optimizer), state_of(eager_module, eager_optimizer))
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0
    return compiled


def batch(number):
    """Make the inputs and the labels' masks of a step."""
    rng = np.random.default_rng(number)
    x = rng.standard_normal((5, 4)).astype(np.float32)
    return DeviceArray(x), DeviceArray(np.eye(3, dtype=bool)[rng.integers(0, 3, 5)])


def net_with_dropout(rng, make=lambda p: optim.SGD(p, lr=0.1)):
    """Make a net with masks, its optimizer and its training step."""
    manual_seed(0)
    dropout = nn.Dropout(0.3, rng=rng)
    net = on_device(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), dropout, nn.Linear(8, 3)))
    optimizer = make(net.parameters())

    def step(x, one_hot):
        optimizer.zero_grad()
        loss = -np.sum(np.where(one_hot, F.log_softmax(net(x)), 0)) / one_hot.shape[0]
        loss.backward()
        optimizer.step()
        return loss

    return net, optimizer, step


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_compiled_step_is_the_eager_one_on_the_device(make):
    def between(number, net, optimizer):
        optimizer.lr = 0.1 / (number + 1)

    compiled = assert_steps_as_eager(
        lambda: net_with_dropout(DeviceGenerator(3), make), batch, between
    )
    assert DeviceArray.moves == 0
    assert compiled.source.startswith("def prepare(net_0_weight")  # to which it is bound
    assert "net_2_rng.random((5, 8))" in compiled.source
    assert "out=net_0_weight)" in compiled.source


def test_a_compiled_steps_results_are_new_and_its_masks_are_others():
    net, _, step = net_with_dropout(DeviceGenerator(0))
    compiled = microgrand.compile(step)
    kept = []
    for _ in range(4):
        loss = compiled(*batch(0))
        found = [loss.data, net[2].mask, net[1].mask, net[0].weight.grad]
        assert all(isinstance(x, DeviceArray) for x in found)
        kept.append((found, [on_host(x).copy() for x in found]))
    for found, before in kept:
        for x, y in zip(found, before, strict=True):
            np.testing.assert_array_equal(on_host(x), y)
    masks = [on_host(found[1]) for found, _ in kept]
    assert len({mask.tobytes() for mask in masks}) == 4


def test_masks_of_the_librarys_generator_in_a_compiled_step():
    rngs = np.random.default_rng(5), np.random.default_rng(5)
    nets = iter(rngs)
    assert_steps_as_eager(lambda: net_with_dropout(next(nets)), batch)
    assert rngs[0].random() == rngs[1].random()


#: Which layers move something to the device in each step, with and without compile.
MOVING = {
    "LSTM": "the gates' scales, in a loop that is one call",
    "LSTM, dropout on the state": "the same, and the mask, which a generator of NumPy's draws",
    "Transformer": "the masks, which the library's own generator draws",
    "TransformerEncoderLayer": "the masks, which the library's own generator draws",
}


@pytest.mark.parametrize("name", LAYERS)
def test_compiled_layers(name):
    make_layer, shape = LAYERS[name]

    def make():
        manual_seed(0)
        layer = on_device(make_layer())
        optimizer = optim.SGD(layer.parameters(), lr=0.01, momentum=0.5)

        def step(x):
            optimizer.zero_grad()
            out = layer(x)
            loss = np.sum(np.square(out[0] if isinstance(out, tuple) else out))
            loss.backward()
            optimizer.step()
            return loss

        return layer, optimizer, step

    def arguments(number):
        x = np.random.default_rng(number).standard_normal(shape)
        return (DeviceArray(x.astype(np.float32)),)

    assert_steps_as_eager(make, arguments)
    assert DeviceArray.moves == 0 or name in MOVING


@pytest.mark.parametrize("name", LOSSES)
def test_compiled_losses(name):
    loss, shape, target, looks = LOSSES[name]
    target = DeviceArray(target)
    gradient = microgrand.value_and_grad(lambda x: loss(x, target))
    compiled = microgrand.compile(gradient)
    for number in range(4):
        x = DeviceArray(np.random.default_rng(number).standard_normal(shape))
        expected = gradient(x)
        DeviceArray.looks = DeviceArray.moves = 0
        assert_same(compiled(x), expected)
        assert number < 2 or (DeviceArray.looks <= looks and DeviceArray.moves == 0)
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0


FUNCTIONS = {
    **TRANSFORMS,
    "nests": lambda x: {"a": [np.exp(x), (x.T, 3)], "b": np.mean(x)},
    "arrays are made": lambda x: np.zeros(x.shape, like=x) + np.arange(6, like=x) * x,
    "a number among the arguments": lambda x, scale=2.0: x * scale,
    "operators": lambda x: abs(-x) // 0.3 + (x @ x) ** 2 - 3 / x,
    "choices": lambda x: np.where(x > 0, np.maximum(x, 0.5), np.minimum(x, 0.25)),
    "joined and cut": lambda x: np.concatenate([x[::2], np.stack([x, x])[1]])[2:],
    "in place": lambda x: doubled_in_place(np.copy(x)),
    "a view is not a copy": lambda x: around_a_write(np.copy(x)),
    "nothing": lambda x: x,
}


def doubled_in_place(y):
    """Write into an array in three ways."""
    y *= 2
    y[1:3] = 0
    np.add.at(y, np.arange(2, like=y), 1.0)
    return np.multiply(y, 3, out=y)


def around_a_write(y):
    """Compute twice with a view, before and after its array is written into."""
    rows = np.reshape(y, (2, 3))
    before = np.exp(rows)
    y += 1
    return before, np.exp(rows), np.exp(np.reshape(y, (2, 3)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_functions(name):
    function = FUNCTIONS[name]
    compiled = microgrand.compile(function)
    for number in range(4):
        x = np.random.default_rng(number).standard_normal(6)
        given, again = DeviceArray(x.copy()), DeviceArray(x.copy())
        DeviceArray.looks = DeviceArray.moves = 0
        result = compiled(again)
        assert number < 2 or DeviceArray.looks == DeviceArray.moves == 0
        assert_same(leaves_of(result), leaves_of(function(given)))
        assert_same(again, given)
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0


def test_what_returns_its_argument_has_not_written_into_it():
    def step(x):
        y = np.moveaxis(np.squeeze(x), 0, 0)
        return y[y > -1]  # a question that is too late once something is changed

    compiled = microgrand.compile(step)
    for _ in range(3):
        assert_same(compiled(DeviceArray(np.arange(3.0))), DeviceArray(np.arange(3.0)))
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0


def test_compiled_steps_write_into_what_others_see():
    def step(x, part):
        before = part * 1
        x -= 0.5
        return before, part * 1

    compiled = microgrand.compile(step)
    for number in range(4):
        x = DeviceArray(np.arange(6.0) + number)
        before, after = compiled(x, x[2:])
        np.testing.assert_array_equal(on_host(before), np.arange(2.0, 6.0) + number)
        np.testing.assert_array_equal(on_host(after), np.arange(2.0, 6.0) + number - 0.5)


def test_arrays_in_closures_and_buffers_are_read_at_each_call():
    held = {"scale": DeviceArray(np.ones(3))}
    count = nn.Buffer(DeviceArray(np.zeros(3)))

    def step(x):
        count.data += 1
        return x * held["scale"] + count.data

    compiled = microgrand.compile(step)
    for number in range(5):
        held["scale"] = DeviceArray(np.full(3, float(number)))
        result = compiled(DeviceArray(np.ones(3)))
        np.testing.assert_array_equal(on_host(result), np.full(3, number + number + 1.0))
    assert len(compiled.traces) == 1


def test_a_generator_of_a_device_is_an_argument_or_stands_in_a_closure():
    outer = DeviceGenerator(1), DeviceGenerator(1)

    def noise_with(closed):
        return lambda x, rng: (x + rng.standard_normal(3), closed.integers(10, size=4))

    eager, compiled = noise_with(outer[0]), microgrand.compile(noise_with(outer[1]))
    rngs = DeviceGenerator(0), DeviceGenerator(0)
    for _ in range(4):
        x = DeviceArray(np.zeros(3))
        assert_same(compiled(x, rngs[1]), eager(x, rngs[0]))
    assert "rng.standard_normal(3)" in compiled.source


def test_another_library_is_traced_again():
    compiled = microgrand.compile(lambda x: np.tanh(x) + 1)
    x = np.array([0.5, 1.0])
    for _ in range(2):
        for make in (np.array, DeviceArray, lambda x: Tensor(x), lambda x: Tensor(DeviceArray(x))):
            for _ in range(3):
                result = compiled(make(x))
                assert_same(result, np.tanh(make(x)) + 1) if make is DeviceArray else None
                np.testing.assert_array_equal(
                    on_host(result.data if isinstance(result, Tensor) else result), np.tanh(x) + 1
                )
    assert len(compiled.traces) == 4


def test_a_parameter_that_moves_to_the_device_is_traced_again():
    weight = Tensor(np.ones(3), requires_grad=True)
    compiled = microgrand.compile(lambda: weight.data * 2)
    assert [type(compiled()) for _ in range(3)] == [np.ndarray] * 3
    weight.data = DeviceArray(np.ones(3))
    assert [type(compiled()) for _ in range(3)] == [DeviceArray] * 3
    assert len(compiled.traces) == 2


def test_labels_out_of_range_are_told_as_without_compile():
    net = on_device(nn.Linear(4, 3))
    compiled = microgrand.compile(lambda x, labels: F.cross_entropy(net(x), labels).detach())
    x = DeviceArray(np.ones((2, 4), np.float32))
    for _ in range(3):
        compiled(x, DeviceArray([0, 2]))
    with pytest.raises(ValueError, match="3"):
        compiled(x, DeviceArray([0, 3]))
    assert compiled.eager_calls == 1


REFUSED = {
    "an array of the host beside it": (
        lambda x, y: x + y,
        {},
        lambda: (DeviceArray(np.ones(3)), np.ones(3)),
        r"several libraries, a DeviceArray and a ndarray; bring all of them.*x\.get\(\)",
    ),
    "native code": (
        np.tanh,
        {"backend": "numba"},
        lambda: (DeviceArray(np.ones(3)),),
        r'backend="numba" compiles for the processor.*DeviceArray.*leave the option out',
    ),
    "the comparison": (
        np.tanh,
        {"check": True},
        lambda: (Tensor(DeviceArray(np.ones(3))),),
        r"check=True needs copies.*DeviceArray.*leave the option out",
    ),
    "a question about a value": (
        lambda x: x if x[0] > 0 else -x,
        {},
        lambda: (DeviceArray(np.ones(3)),),
        r"np\.where",
    ),
    "its numbers on the host": (
        lambda x: x.get(),
        {},
        lambda: (DeviceArray(np.ones(3)),),
        r"get of an array cannot be traced",
    ),
    "a question after a draw": (
        lambda x, rng: x[x > rng.random(3)],
        {},
        lambda: (DeviceArray(np.ones(3)), DeviceGenerator(0)),
        r"after a device's generator has drawn.*leave it out",
    ),
    "an array that differs from call to call": (
        lambda x: x + DeviceArray(np.random.default_rng().random(3)),
        {},
        lambda: (DeviceArray(np.ones(3)),),
        r"now stands.*Give it to the function as an argument",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_compile_refuses_what_cannot_be_on_a_device(name):
    function, options, arguments, message = REFUSED[name]
    if options.get("backend") == "numba":
        pytest.importorskip("numba")
        pytest.importorskip("scipy")
    compiled = microgrand.compile(function, **options)
    with pytest.raises(TypeError, match=message):
        compiled(*arguments()), compiled(*arguments())


def test_a_refusal_puts_arrays_of_a_device_back():
    weight, x = Tensor(DeviceArray(np.ones(4)), requires_grad=True), DeviceArray(np.arange(4.0))

    def step(x):
        weight.data[1:] += 1
        weight.data *= 2
        x[:2] = 7
        return float(np.sum(x))

    with pytest.raises(TypeError, match=r"float\(\)"):
        microgrand.compile(step)(x)
    np.testing.assert_array_equal(on_host(weight.data), np.ones(4))
    np.testing.assert_array_equal(on_host(x), np.arange(4.0))


def test_a_program_for_a_device_is_not_saved(tmp_path):
    compiled = microgrand.compile(np.tanh)
    for _ in range(3):
        compiled(DeviceArray(np.ones(3)))
    with pytest.raises(TypeError, match=r"NumPy alone.*p\.data\.get\(\)"):
        compiled.save(tmp_path / "step.py")


def test_an_error_on_the_device_is_raised_and_changes_no_parameter():
    net, _, step = net_with_dropout(DeviceGenerator(0))
    compiled = microgrand.compile(step)
    for number in range(3):
        compiled(*batch(number))
    before = [on_host(p.data).copy() for p in net.parameters()]
    trace, draws = compiled.traces[0], net[2].rng.draws
    trace.pool.clear()
    trace.source.namespace["np"] = types.SimpleNamespace(**{**vars(np), "log": fails})
    trace.source.terse_names = {
        fails if function is np.log else function: name
        for function, name in trace.source.terse_names.items()
    }
    with pytest.raises(MemoryError, match="device"):
        compiled(*batch(4))
    assert net[2].rng.draws == draws + 1
    for p, data in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(on_host(p.data), data)


def fails(*args, **kwargs):
    """Fail as a device without memory."""
    raise MemoryError("out of the device's memory")

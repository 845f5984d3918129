"""`compile`: what a function depends on and changes between calls is noticed."""

import array
import collections
import contextvars
import functools
import threading
import types
import weakref

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import Tensor, compile, no_grad
from microgrand.nn import Module, Parameter

X = np.arange(1.0, 5.0)
SCALE = 1.0
activation = np.tanh
factory = dict
partly = None


class Scaled(Module):
    """A module whose `forward`, property and other methods read a global name."""

    def __init__(self):
        self.weight = Parameter(np.ones(4))

    def forward(self, x):
        return self.weight * x * self.scale + self.shift()

    @property
    def scale(self):
        return SCALE

    def shift(self):
        return SCALE + 1


def set_global(name, value):
    globals()[name] = value


def in_a_method():
    net = Scaled()
    return lambda: net(X).detach(), lambda: set_global("SCALE", 3.0)


def in_a_class_that_is_made_inside():
    return lambda: Scaled()(X).detach(), lambda: set_global("SCALE", 3.0)


def a_function_of_numpy():
    return lambda: activation(X), lambda: set_global("activation", np.sin)


def a_class():
    return lambda: X * len(factory(a=1)), lambda: set_global("factory", lambda a: [a, a])


def under_a_partial():
    numbers = [2.0]
    set_global("partly", functools.partial(lambda numbers, x: x * numbers[0], numbers))
    return lambda: partly(X), lambda: numbers.__setitem__(0, 3.0)


def under_a_compiled_function():
    weight = Tensor(X)
    inner = compile(lambda: weight.data * 2)
    return lambda: inner() + 1, lambda: setattr(weight, "data", 2 * X)


def an_attribute_of_a_function():
    def loss():
        return X * loss.scale

    loss.scale = 2.0
    return lambda: loss() + 1, lambda: setattr(loss, "scale", 3.0)


def defaults():
    def f(k=2.0):
        return X * k

    return lambda: f() + 1, lambda: setattr(f, "__defaults__", (3.0,))


def code():
    def f():
        return X * 2

    return lambda: f() + 1, lambda: setattr(f, "__code__", (lambda: globals()["X"] * 3).__code__)


def a_set():
    flags = {"a"}
    return lambda: X * len(flags), lambda: flags.add("b")


def a_set_of_as_many():
    flags = {"a"}

    def change():
        flags.clear()
        flags.add("b")

    return lambda: X * (2 if "a" in flags else 3), change


def a_long_list_of_numbers():
    numbers = [1.0] * 2000
    return lambda: X * numbers[7], lambda: numbers.__setitem__(7, 3.0)


def a_long_dict():
    numbers = {f"word {i}": i for i in range(2000)}
    return lambda: X * numbers["word 7"], lambda: numbers.update({"word 7": 3})


def a_long_dict_that_is_read_as_a_whole():
    numbers = {f"word {i}": i for i in range(2000)}
    return lambda: X * sum(numbers.values()), lambda: numbers.update({"word 7": 3})


def a_long_dict_without_a_key():
    numbers = dict.fromkeys(range(2000), 2)
    return lambda: X * numbers.get("a", 1), lambda: numbers.update({"a": 3})


def a_long_dict_in_a_tuple():
    numbers = ({f"word {i}": i for i in range(2000)},)
    return lambda: X * numbers[0]["word 7"], lambda: numbers[0].update({"word 7": 3})


def a_long_list_of_tensors():
    tensors = [Tensor(float(i)) for i in range(1100)]
    return lambda: X * tensors[7].data, lambda: setattr(tensors[7], "data", np.array(3.0))


def the_order_of_a_dict():
    arrays = {"a": X, "b": X**2}

    def change():
        arrays["a"] = arrays.pop("a")

    return lambda: functools.reduce(lambda x, y: x * 2 + y, arrays.values()), change


def a_user_dict():
    numbers = collections.UserDict(a=2.0)
    return lambda: X * numbers["a"], lambda: numbers.update(a=3.0)


def holding(value, other, function):
    """Make a function of what a variable holds, and a change of that."""
    held = types.SimpleNamespace(value=value)
    return lambda: function(held), lambda: setattr(held, "value", other)


def an_array_that_is_none_now():
    return holding(np.ones(4), None, lambda held: X if held.value is None else 2 * X)


def a_number_that_is_none_now():
    return holding(2.0, None, lambda held: X if held.value is None else 2 * X)


def a_shape_only():
    return holding(np.ones(4), np.ones(7), lambda held: X / len(held.value))


def a_dtype_only():
    return holding(X, np.ones(7, np.float32), lambda held: X.astype(held.value.dtype) / 3)


def the_class_of_an_instance():
    class One:
        def factor(self):
            return 1.0

    class Two(One):
        def factor(self):
            return 2.0

    instance = One()
    return lambda: X * instance.factor(), lambda: setattr(instance, "__class__", Two)


def an_attribute_of_a_kind_of_tensor():
    class Weight(Parameter):
        pass

    weight = Weight(X)
    weight.scale = 2.0
    return lambda: X * weight.scale, lambda: setattr(weight, "scale", 3.0)


def bytes_that_change():
    numbers = bytearray(b"12")
    return lambda: X * numbers[0], lambda: numbers.reverse()


def an_attribute_of_a_class():
    class Net:
        scale = 2.0

        @classmethod
        def scaled(cls, x):
            return x * cls.scale

    return lambda: Net.scaled(X), lambda: setattr(Net, "scale", 3.0)


def a_list_of_a_class():
    class Net:
        scales = [2.0]  # noqa: RUF012

    return lambda: X * Net.scales[0], lambda: Net.scales.__setitem__(0, 3.0)


def an_array_of_a_base_class():
    class Base:
        weight = np.ones(4)

    class Net(Base):
        pass

    net = Net()
    return lambda: np.tanh(net.weight), lambda: setattr(Base, "weight", 2 * np.ones(4))


def a_tensor_of_a_class():
    class Net:
        weight = Tensor(X)

    return lambda: np.tanh(Net.weight).data, lambda: setattr(Net.weight, "data", 2 * X)


def an_attribute_that_hides_that_of_a_base():
    class Base:
        scale = 2.0

    class Net(Base):
        pass

    net = Net()
    return lambda: X * net.scale, lambda: setattr(Net, "scale", 3.0)


def an_attribute_that_is_asked_for_by_a_text():
    class Net:
        scale = 2.0

    return lambda: X * getattr(Net, "scale"), lambda: setattr(Net, "scale", 3.0)  # noqa: B009


def another_method():
    class Net:
        def forward(self):
            return X * 2

    net = Net()
    return lambda: net.forward(), lambda: setattr(Net, "forward", lambda self: X * 3)


def under_a_read_only_view():
    numbers = {"a": 2.0}
    view = types.MappingProxyType(numbers)
    return lambda: X * view["a"], lambda: numbers.update(a=3.0)


def under_a_vectorized_function():
    numbers = [2.0]
    scale = np.vectorize(lambda x: x * numbers[0])
    return lambda: X * scale(np.ones(4)), lambda: numbers.__setitem__(0, 3.0)


def a_module():
    module = types.ModuleType("settings")
    module.scale = 2.0
    return lambda: X * module.scale, lambda: setattr(module, "scale", 3.0)


def a_function_of_a_module():
    module = types.ModuleType("functions")
    exec("scale = 2.0\ndef scaled(x):\n    return x * scale", vars(module))
    return lambda: module.scaled(X), lambda: setattr(module, "scale", 3.0)


def a_context_variable():
    scale = contextvars.ContextVar("scale", default=2.0)
    return lambda: X * scale.get(), lambda: scale.set(3.0)


def an_attribute_of_a_thread():
    local = threading.local()
    local.scale = 2.0
    return lambda: X * local.scale, lambda: setattr(local, "scale", 3.0)


def under_a_weak_reference():
    class Numbers:
        scale = 2.0

    numbers = Numbers()
    reference = weakref.ref(numbers)
    return lambda: X * reference().scale, lambda: setattr(numbers, "scale", 3.0)


def several_dicts_in_one():
    numbers = collections.ChainMap({"a": 2.0})
    return lambda: X * numbers["a"], lambda: numbers.update(a=3.0)


def an_array_of_python():
    numbers = array.array("d", [2.0])
    return lambda: X * numbers[0], lambda: numbers.__setitem__(0, 3.0)


def an_array_that_is_a_default():
    weight = np.ones(4)

    def f(weight=weight):
        return np.tanh(weight)

    return lambda: f(), lambda: weight.__setitem__(0, 3.0)


def an_array_in_a_partial_function():
    weight = np.ones(4)
    return functools.partial(np.tanh, weight), lambda: weight.__setitem__(0, 3.0)


def an_array_in_a_named_tuple():
    pair = collections.namedtuple("Pair", "x y")(np.ones(4), 2.0)
    return lambda: np.tanh(pair.x) * pair.y, lambda: pair.x.__setitem__(0, 3.0)


@pytest.mark.parametrize(
    "make",
    [
        *(in_a_method, in_a_class_that_is_made_inside, a_function_of_numpy, a_class),
        *(under_a_partial, under_a_compiled_function, an_attribute_of_a_function, defaults, code),
        *(a_set, a_set_of_as_many, a_long_list_of_numbers, a_long_dict, a_long_list_of_tensors),
        *(the_order_of_a_dict, a_user_dict, an_array_that_is_none_now, a_number_that_is_none_now),
        *(a_shape_only, a_dtype_only, the_class_of_an_instance, an_attribute_of_a_kind_of_tensor),
        *(bytes_that_change, an_attribute_of_a_class, a_list_of_a_class, an_array_of_a_base_class),
        *(a_tensor_of_a_class, an_attribute_that_hides_that_of_a_base, another_method),
        *(an_attribute_that_is_asked_for_by_a_text, under_a_read_only_view, a_module),
        *(under_a_vectorized_function, a_function_of_a_module, a_context_variable),
        *(an_attribute_of_a_thread, under_a_weak_reference, several_dicts_in_one),
        *(an_array_of_python, an_array_that_is_a_default, an_array_in_a_partial_function),
        *(an_array_in_a_named_tuple, a_long_dict_that_is_read_as_a_whole),
        *(a_long_dict_without_a_key, a_long_dict_in_a_tuple),
    ],
    ids=lambda make: make.__name__,
)
def test_changes_are_noticed(make, monkeypatch):
    for name in ("SCALE", "activation", "factory", "partly"):
        monkeypatch.setitem(globals(), name, globals()[name])
    function, change = make()
    compiled = compile(no_grad()(function))
    before = [compiled() for _ in range(4)]
    assert compiled.traces
    assert_same_bits(before[-1], function())
    change()
    expected = function()
    assert not np.array_equal(expected, before[-1])
    for _ in range(3):
        assert_same_bits(compiled(), expected)

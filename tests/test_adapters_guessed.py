"""Adapters that are guessed: from a tensor's class to a way to run its backward."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from helpers import MODES, report_of, x34
from toy import Toy

from microgrand import Tensor
from microgrand.testing import Adapter, gradcheck


class Tape:
    """What the frameworks below have in common: products and sums, and a walk over the graph."""

    def __init__(self, data, parents=()):
        self.data = np.asarray(data)
        self.parents = parents

    def make(self, data, *parents):
        return type(self)(data, parents)

    def __add__(self, other):
        return self.make(self.data + other.data, (self, 1.0), (other, 1.0))

    def __mul__(self, other):
        return self.make(self.data * other.data, (self, other.data), (other, self.data))

    def sum(self):
        return self.make(self.data.sum(), (self, np.ones(self.data.shape)))

    def walk(self, g):
        """Yield each node of the graph and the gradient that one path to it sends."""
        yield self, g
        for parent, factor in self.parents:
            yield from parent.walk(g * factor)


class WithoutCotangent(Tape):
    """Backward starts from 1, and grad is a tensor, which is None before."""

    grad = None

    def backward(self):
        for node, g in self.walk(np.ones(self.data.shape)):
            node.grad = self.make(g if node.grad is None else node.grad.data + g)


class WithArray(Tape):
    """Backward takes an array, and grad is an array of zeros before."""

    def __init__(self, data, parents=()):
        super().__init__(data, parents)
        self.grad = np.zeros(self.data.shape)

    def backward(self, cotangent):
        assert isinstance(cotangent, np.ndarray)
        for node, g in self.walk(cotangent):
            node.grad += g


class WithTensor(Tape):
    """Backward takes a tensor; a leaf asks for its gradient; grad is overwritten in each run."""

    def __init__(self, data, parents=(), requires_grad=False):
        super().__init__(data, parents)
        self.requires_grad = requires_grad or any(p.requires_grad for p, _ in parents)
        self.grad = None

    def backward(self, cotangent):
        assert isinstance(cotangent, WithTensor)
        found = {}
        for node, g in self.walk(cotangent.data):
            found[node] = found.get(node, 0) + g
        for node, g in found.items():
            node.grad = g


class InLists(Tape):
    """Made of lists, values are got by a method, and grad is 0 before."""

    def __init__(self, data, parents=()):
        assert isinstance(data, (list, float)) or parents
        super().__init__(data, parents)
        self._values, self.grad = self.data, 0

    def numpy(self):
        return self._values

    def backward(self):
        for node, g in self.walk(np.ones(self.data.shape)):
            node.grad = node.grad + g


FRAMEWORKS = [WithoutCotangent, WithArray, WithTensor, InLists, Toy, Tensor]
EACH = pytest.mark.parametrize("framework", FRAMEWORKS)


@MODES
@EACH
def test_a_framework_is_guessed(framework, mode):
    adapter = Adapter.guess(framework)
    assert gradcheck(lambda x, y: x * y + x * x, x34(), x34() + 1, adapter=adapter, mode=mode)
    # Several outputs, a constant, one that is an input, one that is not used.
    assert gradcheck(
        lambda x, y, z: (x * y, x * x * x, x, np.ones(3)),
        x34(), x34() + 1, x34(), adapter=adapter, mode=mode,
    )  # fmt: skip
    assert gradcheck(lambda x: x * x, np.array(0.7), adapter=adapter, mode=mode)


@EACH
def test_a_mistake_in_a_guessed_framework_is_found(framework, monkeypatch):
    adapter = Adapter.guess(framework)
    assert gradcheck(lambda x, y: x + y, x34(), x34(), adapter=adapter)
    original = framework.__mul__
    monkeypatch.setattr(framework, "__mul__", lambda self, other: original(self, self))
    report = report_of(lambda x, y: x * y, x34(), x34() + 1, adapter=adapter, reference=np.multiply)
    assert "wrong value" in report


def test_a_function_that_makes_tensors_may_be_guessed_from():
    adapter = Adapter.guess(lambda array: WithTensor(array, requires_grad=True))
    assert gradcheck(lambda x: x * x, x34(), adapter=adapter)


def test_second_derivatives_of_a_guessed_framework():
    adapter = Adapter.guess(Tensor)
    report = report_of(lambda x: x * x, x34(), order=2, adapter=adapter)
    assert "at second order" in report


class Ignoring(Tape):
    """Backward takes a cotangent, and starts from 1 all the same."""

    grad = None

    def backward(self, cotangent=None):
        for node, g in self.walk(np.ones(self.data.shape)):
            node.grad = g if node.grad is None else node.grad + g


class WithOption(Ignoring):
    """Backward has an option, and takes no cotangent."""

    def backward(self, retain_graph=False):
        super().backward()


class FirstToLast(Tape):
    """Backward visits values in the order in which they were computed, or others."""

    grad = None

    def backward(self, g=None):
        self.grad = np.ones(self.data.shape) if g is None else g
        order = []

        def visit(node):
            if node not in order:
                for parent, _ in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        for node in order:
            for parent, factor in node.parents if node.grad is not None else ():
                share = node.grad * factor
                parent.grad = share if parent.grad is None else parent.grad + share


class FirstToLastFromOne(FirstToLast):
    """The same without a cotangent."""

    def backward(self):
        super().backward()


@MODES
def test_a_backward_that_ignores_its_cotangent_is_found(mode):
    adapter = Adapter.guess(Ignoring)
    assert "wrong derivative" in report_of(lambda x: x * x, x34(), adapter=adapter, mode=mode)
    report = report_of(lambda x: (x * x, x + x), x34(), adapter=adapter, mode=mode)
    assert "wrong derivative" in report
    assert gradcheck(lambda x: (x * x, x + x), x34(), adapter=Adapter.guess(WithOption), mode=mode)


@MODES
@pytest.mark.parametrize("framework", [FirstToLast, FirstToLastFromOne])
def test_a_backward_in_a_wrong_order_is_found(framework, mode):
    adapter = Adapter.guess(framework)
    report = report_of(lambda x: x * x + x, x34(), adapter=adapter, mode=mode)
    assert "wrong derivative" in report


def test_a_backward_whose_every_rule_is_wrong_is_found():
    class Doubling(WithArray):
        def walk(self, g):
            yield self, g
            for parent, factor in self.parents:
                yield from parent.walk(2 * g * factor)

    adapter = Adapter.guess(Doubling)
    assert "2 times too large" in report_of(lambda x, y: x * y, x34(), x34() + 1, adapter=adapter)


class OnlyProducts(Tape):
    """There is no sum and no addition, and intermediate gradients are kept."""

    grad = 0.0
    __add__ = sum = None

    def backward(self, g):
        for node, share in self.walk(g):
            node.grad = node.grad + share


class ByName(Tape):
    """Backward takes a cotangent by name only, and needs one."""

    grad = None
    sum = property()

    def backward(self, *, gradient=None):
        for node, g in self.walk(np.asarray(gradient, float)):
            node.grad = g if node.grad is None else node.grad + g


class OnOneTape:
    """All tensors share a tape, which backward empties; it takes an array."""

    tape: ClassVar = []
    skips = True

    def __init__(self, data):
        self.data, self.grad = np.asarray(data), None

    def __mul__(self, other):
        product = OnOneTape(self.data * other.data)
        self.tape.append((product, (self, other.data), (other, self.data)))
        return product

    def backward(self, g):
        if self.data.shape != np.shape(g) or not isinstance(g, np.ndarray):
            raise TypeError("expected an array")
        self.grad = g
        while self.tape:
            product, *parents = self.tape.pop()
            for parent, factor in parents if product.grad is not None or not self.skips else ():
                share = product.grad * factor
                parent.grad = share if parent.grad is None else parent.grad + share


class OnOneTapeFromOne(OnOneTape):
    """The same for single numbers, beginning at 1."""

    def __mul__(self, other):
        product = OnOneTapeFromOne(self.data * other.data)
        self.tape.append((product, (self, other.data), (other, self.data)))
        return product

    def sum(self):
        total = OnOneTapeFromOne(self.data.sum())
        self.tape.append((total, (self, np.ones(self.data.shape))))
        return total

    def backward(self):
        super().backward(np.ones(()))


@MODES
@pytest.mark.parametrize("framework", [OnlyProducts, ByName, OnOneTape, OnOneTapeFromOne])
def test_several_outputs_need_no_more_than_backward(framework, mode):
    adapter = Adapter.guess(framework)
    y = x34() + 1
    assert gradcheck(lambda x, y: x * y * x, x34(), y, adapter=adapter, mode=mode)
    # They share what is in the middle of the graph; one is an input, and one a constant.
    assert gradcheck(
        lambda x, y: (lambda z: (z * x, z * y, z, x, np.ones(3)))(x * y),
        x34(), y, adapter=adapter, mode=mode,
    )  # fmt: skip
    wrong = replace(adapter, gradients=lambda *given: [1.1 * g for g in adapter.gradients(*given)])
    assert "off by a factor" in report_of(lambda x, y: (x * y, x * x), x34(), y, adapter=wrong)


@pytest.mark.parametrize("framework", [OnOneTape, OnOneTapeFromOne])
def test_a_failed_probe_leaves_no_tape_that_others_fail_on(framework, monkeypatch):
    monkeypatch.setattr(framework, "skips", False)  # what is left on the tape is an error
    adapter = Adapter.guess(framework)
    OnOneTape.tape.clear()
    leaf, other = adapter.tensor(x34()), adapter.tensor(x34() + 1)
    (found, _) = adapter.gradients([leaf * other], [adapter.tensor(x34())], [leaf, other], False)
    assert np.allclose(found, x34() * (x34() + 1))


def test_what_cannot_be_guessed_says_so():
    with pytest.raises(TypeError, match="found no way to make a dict"):
        Adapter.guess(dict)
    with pytest.raises(TypeError, match="looks for a method `backward`, which ndarray lacks"):
        Adapter.guess(np.array)

    class Lost(Tape):
        def backward(self):
            self.grad = None

    with pytest.raises(TypeError, match="no way to run backward from a Lost"):
        Adapter.guess(Lost)

"""Adapters: gradcheck works with frameworks, numbers, layers and programs, and finds mistakes."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import MODES, report_of, run_backward, x34
from hypothesis import Phase, given, settings
from toy import Toy

from microgrand.testing import MICROGRAND, Adapter, GradcheckError, gradcheck, strategies

# ---------------------------------------------------------------------------- written by hand


class Scalars:
    """A tensor of a toy framework, whose backward may forget to add, or to undo broadcasting."""

    adds = True

    def __init__(self, array, parents=()):
        self.array = array
        self.parents = parents
        self.grad = None

    def __mul__(self, other):
        return Scalars(self.array * other.array, [(self, other.array), (other, self.array)])

    def backward(self, g):
        self.grad = g if self.grad is None or not self.adds else self.grad + g
        for parent, factor in self.parents:
            parent.backward(g * factor)


TOY = Adapter(tensor=Scalars, array=lambda x: getattr(x, "array", x), gradients=run_backward)


@MODES
def test_a_framework_of_backward_and_grad(mode):
    assert gradcheck(lambda x, y: x * y * x, x34(), x34() + 1, adapter=TOY, mode=mode)


@MODES
def test_a_gradient_overwritten_instead_of_added(mode, monkeypatch):
    monkeypatch.setattr(Scalars, "adds", False)
    assert gradcheck(lambda x, y: x * y, x34(), x34() + 1, adapter=TOY, mode=mode)
    report = report_of(lambda x, y: x * y * x, x34(), x34() + 1, adapter=TOY, mode=mode)
    assert "overwritten instead of added" in report


def test_broadcasting_that_is_not_undone():
    report = report_of(lambda x, y: x * y, x34(), np.ones(4), adapter=TOY)
    assert "gradient of input 1 has shape (3, 4), expected (4,)" in report
    assert "broadcasting is not undone" in report


def test_a_gradient_of_transposed_shape():
    adapter = replace(
        MICROGRAND, gradients=lambda *args: [g.T for g in MICROGRAND.gradients(*args)]
    )
    assert "the result is transposed" in report_of(np.sin, x34(), adapter=adapter)


# --------------------------------------------------------------------------- single numbers


class Number:
    """A single number, as in many tutorials."""

    def __init__(self, data, parents=()):
        self.data, self.parents, self.grad = data, parents, 0.0

    def __add__(self, other):
        other = other if isinstance(other, Number) else Number(other)
        return Number(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = other if isinstance(other, Number) else Number(other)
        return Number(self.data * other.data, [(self, other.data), (other, self.data)])

    __radd__, __rmul__ = __add__, __mul__

    def relu(self):
        return Number(max(self.data, 0.0), [(self, float(self.data > 0))])

    def wrong_relu(self):
        return Number(max(self.data, 0.0), [(self, 1.0)])

    def backward(self, g=1.0):
        self.grad += g
        for parent, slope in self.parents:
            parent.backward(slope * g)


@MODES
def test_a_class_of_numbers(mode):
    adapter = Adapter.scalar(Number)
    x = x34() - 1.2
    assert gradcheck(lambda x, y: x @ y * 2 + 1, x, x34().T, adapter=adapter, mode=mode)
    assert gradcheck(lambda x: x * x, np.array(0.3), adapter=adapter, mode=mode)
    assert gradcheck(lambda x: [v.relu() for v in x[0]], x, adapter=adapter, mode=mode)
    assert gradcheck(lambda x: x * np.sum(x), x, adapter=adapter, reference=lambda x: x.sum() * x)
    report = report_of(lambda x: [v.wrong_relu() for v in x[0]], x, adapter=adapter, mode=mode)
    assert "a mask is missing" in report


# ----------------------------------------------------------------------------------- layers


class Linear:
    """A layer as in many courses."""

    def __init__(self):
        self.params, self.grads = {"W": None, "b": None}, {}

    def forward(self, x):
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, g):
        self.grads["W"] = self.x.T @ g
        self.grads["b"] = g.sum(axis=0)
        return g @ self.params["W"].T


class Bilinear:
    """A layer of two inputs, with attributes for its parameter and gradient."""

    def forward(self, x, y):
        self.cache = x, y
        return x * y * self.W

    def backward(self, g):
        x, y = self.cache
        self.grad_W = g * x * y
        return g * y * self.W, g * x * self.W


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(g, cache):
    x, w, _ = cache
    return g @ w.T, x.T @ g, g.sum(axis=0)


def relu_forward(x):
    return np.maximum(x, 0), x


@MODES
def test_layers(mode, monkeypatch):
    x, w, b = x34() - 1.2, x34().T, np.ones(3)
    adapter = Adapter.layer("W", "b")
    assert gradcheck(Linear(), x, w, b, adapter=adapter, mode=mode)
    assert gradcheck(Bilinear(), x, x + 1, x + 2, adapter=Adapter.layer("W"), mode=mode)
    functions = Adapter.layer(backward=affine_backward)
    assert gradcheck(affine_forward, x, w, b, adapter=functions, mode=mode)
    masked = Adapter.layer(backward=lambda g, x: g * (x > 0))
    assert gradcheck(relu_forward, x, adapter=masked, mode=mode)

    monkeypatch.setattr(Linear, "backward", lambda self, g: g @ self.params["W"].T)
    report = report_of(Linear(), x, w, b, adapter=adapter, mode=mode)
    assert "Linear has no dW, grad_W, W_grad or grads['W'] after backward" in report
    unmasked = Adapter.layer(backward=lambda g, x: g)
    assert "a mask is missing" in report_of(relu_forward, x, adapter=unmasked, mode=mode)
    averaged = Adapter.layer(backward=lambda g, cache: (*affine_backward(g, cache)[:2], g.mean(0)))
    report = report_of(affine_forward, x, w, b, adapter=averaged, mode=mode)
    assert "3 times too small" in report
    few = Adapter.layer(backward=lambda g, cache: affine_backward(g, cache)[0])
    assert "returned 1 gradients, expected 3" in report_of(affine_forward, x, w, b, adapter=few)


class Adding(Linear):
    """A layer that adds to the gradients of its parameters, and uses its arrays again."""

    def __init__(self, shape):
        super().__init__()
        self.grads = {"W": np.zeros((shape[1], 1)), "b": np.zeros(1)}
        self.output, self.gradient = np.empty((shape[0], 1)), np.empty(shape)

    def forward(self, x):
        self.output[:] = super().forward(x)
        return self.output

    def backward(self, g):
        self.grads["W"] += self.x.T @ g
        self.grads["b"] += g.sum(axis=0)
        self.gradient[:] = g @ self.params["W"].T
        return self.gradient


@MODES
def test_layers_may_add_to_gradients_and_use_arrays_again(mode):
    x, w = x34(), x34().T[:, :1]
    adapter = Adapter.layer("W", "b")
    assert gradcheck(Adding(x.shape), x, w, np.ones(1), adapter=adapter, mode=mode)


def test_layers_of_several_results():
    def sums(x, y):
        return (x + y, x * y), (x, y)

    def sums_backward(g, h, cache):
        x, y = cache
        return g + h * y, g + h * x

    adapter = Adapter.layer(backward=sums_backward)
    assert gradcheck(sums, x34(), x34() + 1, adapter=adapter)
    assert "order=2 needs a framework" in report_of(sums, x34(), x34(), adapter=adapter, order=2)


class CrossEntropy:
    """A loss with a parameter, whose backward begins at 1."""

    factor = 1

    def forward(self, logits, labels):
        self.labels, self.logits = labels, logits
        shifted = np.exp((logits - logits.max(axis=1, keepdims=True)) * self.scale)
        self.p = shifted / shifted.sum(axis=1, keepdims=True)
        return -np.log(self.p[np.arange(len(labels)), labels]).mean()

    def backward(self):
        g = self.p.copy()
        g[np.arange(len(self.labels)), self.labels] -= 1
        g *= self.factor / len(self.labels)
        self.dscale = np.array((g * self.logits).sum())
        return g * self.scale


@MODES
def test_losses_whose_backward_takes_nothing(mode, monkeypatch):
    adapter = Adapter.layer("scale", constants=[np.array([0, 3, 1])])
    x, scale = x34(), np.array(1.3)
    assert gradcheck(CrossEntropy(), x, scale, adapter=adapter, mode=mode)
    monkeypatch.setattr(CrossEntropy, "factor", 3)
    report = report_of(CrossEntropy(), x, scale, adapter=adapter, mode=mode)
    assert "3 times too large" in report
    monkeypatch.setattr(CrossEntropy, "forward", lambda self, x, labels: x * x)
    report = report_of(CrossEntropy(), x, scale, adapter=adapter, mode=mode)
    assert "expected to return one number" in report


@MODES
def test_losses_that_return_their_gradient(mode):
    def hinge(scores, labels):
        margins = np.maximum(0, scores - scores[np.arange(3), labels][:, None] + 1)
        margins[np.arange(3), labels] = 0
        g = (margins > 0).astype(float)
        g[np.arange(3), labels] -= g.sum(axis=1)
        return margins.sum(), g

    constants = [np.array([0, 3, 1])]
    right = Adapter.layer(backward=lambda g, gradient: g * gradient, constants=constants)
    assert gradcheck(hinge, x34(), adapter=right, mode=mode)
    wrong = Adapter.layer(backward=lambda g, gradient: gradient, constants=constants)
    assert "the cotangent is ignored" in report_of(hinge, x34(), adapter=wrong, mode=mode)


# --------------------------------------------------------------------------------- programs

KNOWN = [
    "{0} + {1}",
    "{0} * {1}",
    "sin({0})",
    "{0} - {1}",
    ("{0}.sum()", None, "np.sum({0})"),
]
GUESSED = Adapter.guess(Toy)


def toy_programs(**options):
    return strategies.programs(
        expressions=KNOWN, namespace={"sin": Toy.sin}, adapter=GUESSED, **options
    )


@given(toy_programs())
def test_programs_of_another_framework(program):
    # It cannot subtract, so there is no program that does.
    assert " - " not in "".join(program.lines)
    assert gradcheck(program, *program.inputs, adapter=GUESSED, reference=program.reference)


NUMBERS = Adapter.scalar(Number)


@given(strategies.programs(expressions=["{0} + {1}", "{0} * {1}"], adapter=NUMBERS))
def test_programs_of_numbers(program):  # which take an array for a number, and are left out
    assert gradcheck(program, *program.inputs, adapter=NUMBERS, reference=program.reference)


@pytest.mark.parametrize("fault", ["overwritten", "order"])
def test_programs_of_another_framework_find_faults(fault, monkeypatch):
    monkeypatch.setattr(Toy, "fault", fault)

    @settings(
        max_examples=100, database=None, report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(toy_programs())
    def run(program):
        gradcheck(
            program, *program.inputs, adapter=GUESSED, mode="fast", reference=program.reference
        )

    with pytest.raises(GradcheckError) as caught:
        run()
    assert "namespace=namespace" in "".join(caught.value.__notes__)


def test_a_wrong_value_in_a_program_is_found_first(monkeypatch):
    program = strategies.Program(
        "v0 = cosine(x0)", namespace={"cosine": np.sin}, reference=["v0 = np.cos(x0)"], x0=0.3
    )
    report = report_of(program, *program.inputs, reference=program.reference)
    assert "wrong value" in report
    again = eval(repr(program), {"np": np, "Program": strategies.Program, "namespace": {}})
    assert again.reference(*again.inputs) == np.cos(0.3)


# ---------------------------------------------------------------------------------- PyTorch


def test_pytorch():
    torch = pytest.importorskip("torch")
    adapter = Adapter.pytorch()
    for mode in ("full", "fast"):
        assert gradcheck(
            lambda x, y: torch.tanh(x @ y), x34(), x34().T, order=2, mode=mode, adapter=adapter
        )
        assert gradcheck(torch.exp, x34().astype(np.float32), mode=mode, adapter=adapter)
    assert "no gradient arrives" in report_of(lambda x: x.detach() * 2, x34(), adapter=adapter)
    linear = torch.nn.Linear(4, 2)
    assert gradcheck(
        lambda x, weight: torch.func.functional_call(linear, {"weight": weight}, (x,)),
        x34().astype(np.float32), np.ones((2, 4), np.float32), adapter=adapter,
    )  # fmt: skip

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            context.save_for_backward(x)
            return torch.sin(x)

        @staticmethod
        def backward(context, g):
            return -g * torch.cos(context.saved_tensors[0])

    assert "the sign is wrong" in report_of(Wrong.apply, x34(), adapter=adapter)
    guessed = Adapter.guess(torch.tensor)
    assert gradcheck(lambda x: x.exp() * x, x34(), adapter=guessed)

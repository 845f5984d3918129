"""Stage 8, functions: most derivatives follow from the output."""

from __future__ import annotations

import numpy as np

from ..compare import a_shape, check_gradients, mind_own_calls, numbers, wrong_gradient
from ..stage import Fault, Stage

stage = Stage(
    number=8,
    name="functions",
    contract=("Tensor.relu", "Tensor.exp", "Tensor.log", "Tensor.tanh"),
    needs=(1, 2),
    hints=(
        "What do you have after forward that already contains the derivative?",
        "exp' = exp, tanh' = 1 - tanh ** 2, log' = 1 / x, and relu' is 1 or 0 by the input's sign.",
        "Keep the output, or the mask, in the vjp's closure: `out = np.exp(self.data)`; "
        "`node(out, (self,), lambda g: (g * out,))`",
    ),
    skeleton="""\
# Stage 8. Four more methods of Tensor, element by element:
#
#     def relu(self): ...
#     def exp(self): ...
#     def log(self): ...
#     def tanh(self): ...
""",
)


FUNCTIONS = ("exp", "log", "tanh", "relu")


@stage.property("x.exp(): its value and its gradient", examples=4)
def exp(door, draw):
    x = numbers(draw, a_shape(draw, door, max_dims=2))
    check_gradients(door, "z = x.exp()", where="Tensor.exp", x=x)


@stage.property("x.log(): its value and its gradient", examples=4)
def log(door, draw):
    x = numbers(draw, a_shape(draw, door, max_dims=2), low=0.2)
    check_gradients(door, "z = x.log()", where="Tensor.log", x=x)


@stage.property("x.tanh(): its value and its gradient", examples=4)
def tanh(door, draw):
    x = numbers(draw, a_shape(draw, door, max_dims=2))
    check_gradients(door, "z = x.tanh()", where="Tensor.tanh", x=x)


@stage.property("x.relu(): its value and its gradient, away from 0", examples=5)
def relu(door, draw):
    x = numbers(draw, a_shape(draw, door, max_dims=2))
    check_gradients(door, "z = x.relu()", where="Tensor.relu", x=x)


@stage.property("relu at 0 is 0, and so is its gradient there", examples=1)
def relu_at_zero(door, draw):
    run = door.start(x=np.array([0.0, 1.5, -1.5]))("z = x.relu()")
    if run.value("z")[0] != 0:
        raise Fault(f"{run.value('z')[0]}", "0", "Tensor.relu")
    run.backward("z", np.array([2.0, 3.0, 4.0]))
    found = run.gradient("x")
    if found is None or found.shape != (3,) or not np.allclose(found, [0, 3, 0]):
        raise Fault(
            f"x.grad is {None if found is None else found.tolist()}",
            "[0, 3, 0]: the derivative at 0 is taken as 0",
            "Tensor.relu",
            at_zero=found,
        )


@stage.property("relu(inf) is inf and relu(-inf) is 0, and no gradient is nan", examples=1)
def relu_of_inf(door, draw):
    run = door.start(x=np.array([np.inf, -np.inf, 1.5]))("z = x.relu()")
    if not np.array_equal(run.value("z"), [np.inf, 0, 1.5]):
        raise Fault(f"{run.value('z').tolist()}", "[inf, 0, 1.5]", "Tensor.relu", infinite=True)
    run.backward("z", np.array([2.0, 3.0, 4.0]))
    found = run.gradient("x")
    if found is None or not np.array_equal(found, [2, 0, 4]):
        raise Fault(f"x.grad is {found}", "[2, 0, 4]", "Tensor.relu", infinite=True)


mind_own_calls(
    stage,
    [(f"{{0}}.{name}()", f"{{0}}.{name}()", f"Tensor.{name}") for name in FUNCTIONS],
    again=False,
    needs=(1, 2, 3),
)
mind_own_calls(
    stage,
    [("({0} - 1).relu()", "({0} - 1.3).relu()", "Tensor.relu")],
    needs=(1, 2, 3),
    sentence="the same for relu, where some of x is below 0",
)


@stage.property("functions of functions, and of values that are used twice", examples=3)
def together(door, draw):
    x = numbers(draw, a_shape(draw, door, max_dims=2))
    for lines in (
        ("w = x.tanh()", "z = w.exp() * w"),
        ("w = x.exp() + 1", "z = w.log() - x"),
        ("w = x.relu() + x.tanh()", "z = w * x"),
    ):
        check_gradients(door, *lines, where="Tensor.backward", x=x)


# ------------------------------------------------------------------------------- suspects


ALONE = "the derivative stands alone: it has to be multiplied by g, the gradient of the result"
NOT_THERE = "g is passed on as it is: it has to be multiplied by the function's derivative"

stage.suspects += [
    wrong_gradient(
        "z = x.relu()",
        "x",
        lambda g, x, y, z: g,
        "relu stops what is below 0: so does its gradient, which is 0 there",
        signed=True,
    ),
    wrong_gradient("z = x.relu()", "x", lambda g, x, y, z: (x > 0) * 1.0, ALONE, signed=True),
    wrong_gradient(
        "z = x.relu()",
        "x",
        lambda g, x, y, z: np.where(g > 0, g, 0),
        "the mask is taken of g: it is x that decides, relu' is 1 where x > 0",
        signed=True,
    ),
    wrong_gradient(
        "z = x.relu()",
        "x",
        lambda g, x, y, z: g * z,
        "g is multiplied by the output: relu' is 1 where x > 0, and 0 elsewhere",
        signed=True,
    ),
    wrong_gradient(
        "z = x.relu()",
        "x",
        lambda g, x, y, z: g * (x < 0),
        "the mask is the wrong way round: relu' is 1 where x > 0",
        signed=True,
    ),
    wrong_gradient(
        "z = x.exp()",
        "x",
        lambda g, x, y, z: g * x * z,
        "the derivative of exp is exp itself, without the factor x",
    ),
    wrong_gradient(
        "z = x.exp()",
        "x",
        lambda g, x, y, z: g * x * np.exp(x - 1),
        "exp is not a power of x: its derivative is exp itself",
    ),
    wrong_gradient(
        "z = x.exp()",
        "x",
        lambda g, x, y, z: g * x,
        "g is multiplied by the input: the derivative of exp is the output",
    ),
    wrong_gradient(
        "z = x.log()",
        "x",
        lambda g, x, y, z: g / z,
        "g is divided by the output: the derivative of log is 1 / x, of the input",
    ),
    wrong_gradient(
        "z = x.log()", "x", lambda g, x, y, z: g * x, "the derivative of log is 1 / x: divide by x"
    ),
    wrong_gradient(
        "z = x.tanh()",
        "x",
        lambda g, x, y, z: g * (1 - x**2),
        "the derivative of tanh is 1 - tanh(x) ** 2: it is the output that is squared",
    ),
    wrong_gradient(
        "z = x.tanh()",
        "x",
        lambda g, x, y, z: g * (1 - z),
        "the derivative of tanh is 1 - tanh(x) ** 2: the square is missing",
    ),
    wrong_gradient(
        "z = x.tanh()",
        "x",
        lambda g, x, y, z: g * z * (1 - z),
        "this is the logistic function's derivative: that of tanh is 1 - tanh(x) ** 2",
    ),
    wrong_gradient(
        "z = x.tanh()",
        "x",
        lambda g, x, y, z: g * (1 + z**2),
        "the derivative of tanh is 1 - tanh(x) ** 2: its sign",
    ),
    *(
        wrong_gradient(f"z = x.{name}()", "x", lambda g, x, y, z: g, NOT_THERE)
        for name in ("exp", "log", "tanh")
    ),
    wrong_gradient("z = x.exp()", "x", lambda g, x, y, z: z, ALONE),
    wrong_gradient("z = x.log()", "x", lambda g, x, y, z: 1 / x, ALONE),
    wrong_gradient("z = x.tanh()", "x", lambda g, x, y, z: 1 - z**2, ALONE),
]


@stage.suspect("inf * 0 is nan: choose with np.where or np.maximum, instead of x * mask")
def inf_times_zero(door, fault):
    return "infinite" in fault.data


@stage.suspect("at 0 the mask is 1: relu' is 1 where x > 0, not where x >= 0")
def mask_at_zero(door, fault):
    found = fault.data.get("at_zero")
    return found is not None and np.allclose(found, [2, 3, 0])

"""Stage 3, many uses: the sum over all paths, and no node speaks before it has heard all."""

from __future__ import annotations

import numpy as np
from hypothesis import assume

from ...testing import strategies
from ..case import Plain
from ..compare import (
    RIGHT,
    a_cotangent,
    a_shape,
    check_gradients,
    close,
    mind_own_calls,
    numbers,
    shown,
)
from ..stage import Fault, Stage

stage = Stage(
    number=3,
    name="many uses",
    contract=("Tensor.backward",),
    lines=("Tensor.backward", "in_order"),
    needs=(1, 2),
    hints=(
        "Draw a + a = b, b * b = c. When do you know b's gradient?",
        "A value that is used several times gets the sum of what comes back. So visit the Tensors "
        "in topological order, from the last one: each after all that it was used for.",
        "Depth first: `def visit(t): ... for p in t.parents: visit(p) ... order.append(t)`; then "
        "go through `reversed(order)`, adding to each parent's gradient.",
    ),
    skeleton="""\
# Stage 3. No new names: backward has to be right where a value is used more than once.
# Each vjp is called once, when all that its Tensor was used for has sent its gradient.
""",
)

TWICE = ("z = x + x", "z = x * x", "z = x * x * x", "z = x - x * x", "z = x / (x + 1) + x")


@stage.property("a value that is used twice gets the sum of both gradients", examples=4)
def used_twice(door, draw):
    x = numbers(draw, a_shape(draw, door, max_dims=1), low=0.2)
    for line in TWICE:
        check_gradients(door, line, where="Tensor.backward", x=x)


mind_own_calls(
    stage,
    [
        ("{0} * {1}", "{0} * {1}", "Tensor.__mul__"),
        ("{0} - {1}", "{0} - {1}", "Tensor.__sub__"),
        ("{0} / {1}", "{0} / {1}", "Tensor.__truediv__"),
        ("{0} ** 2", "{0} ** 3", "Tensor.__pow__"),
    ],
)

DIAMONDS = (
    ("w = x * y", "a = 2 * w", "b = w * w", "z = a + b"),
    ("w = x + y", "a = w * w", "z = a * w"),
    ("w = x * x", "a = w + x", "b = a * w", "z = b * a + x"),
    ("a = x * 2", "b = a * a", "c = b + a", "d = c * b", "z = d + a * x"),
    ("a = x + 1", "b = a * 3", "c = b * 5", "z = a * c + b"),
    # The sum may give x and y the very same g, to which more is to be added.
    ("a = x + y", "b = x * y", "z = a + b"),
    ("a = x + y", "b = x * y", "z = b + a"),
)


@stage.property("ways that part and meet again: all of them count, each once", examples=4)
def diamonds(door, draw):
    shape = a_shape(draw, door, max_dims=1)
    inputs = {name: numbers(draw, shape, low=0.2) for name in "xy"}
    for lines in DIAMONDS:
        used = {name: x for name, x in inputs.items() if name in " ".join(lines)}
        check_gradients(door, *lines, where="Tensor.backward", **used)


KNOWN = ["{0} + {1}", "{0} * {1}", "{0} - {1}", "-{0}", "0.7 * {0}", "1.3 - {0}", "{0} ** 2"]


@stage.property("gradients of any graph of up to eight operations", examples=14)
def graphs(door, draw):
    program = draw(strategies.programs(max_lines=8, expressions=KNOWN))
    shapes = {x.shape for x in program.inputs}
    assume(len(shapes) == 1)  # broadcasting is stage 5's
    inputs = dict(zip(program.names, program.inputs, strict=True))
    if door.scalar:
        inputs = {name: np.array(x.ravel()[0]) for name, x in inputs.items()}
    lines = [*program.lines, f"z = {program.lines[-1].split(' = ')[0]} * 1.5"]
    check_gradients(door, *lines, where="Tensor.backward", **inputs)


@stage.property("each vjp is called once in a backward pass", arrays=True, examples=1)
def called_once(door, draw):
    x = numbers(draw, (2,))
    run = door.start(x=x, b=Plain(3 * x))
    calls = []

    def vjp(g):
        calls.append(1)
        if len(calls) > 1:
            raise Fault(
                "the first vjp is called a second time", "once", "Tensor.backward", twice=True
            )
        return (3 * g,)

    run.names["vjp"] = vjp
    run.case.lines += ["calls = []", "vjp = lambda g: (calls.append(1), (3 * g,))[1]"]
    run.case.shown.append("len(calls)")
    run("a = node(b, (x,), vjp)", "for _ in range(18): a = a + a")
    run.backward("a", np.ones(2))
    found, expected = run.gradient("x"), np.full(2, 3.0 * 2**18)
    if found is None or not close(found, expected):
        raise Fault(f"x.grad is {shown(found)}", shown(expected), "Tensor.backward")


@stage.property(
    "a second backward pass gives the same, or adds the same again, or raises", examples=4
)
def second_pass(door, draw):
    shape = a_shape(draw, door, max_dims=1)
    x, y = numbers(draw, shape), numbers(draw, shape)
    lines = ("w = x * y", "z = w * w + x")
    g = a_cotangent(x)
    right = RIGHT.start(x=x, y=y)(*lines).backward("z", g)
    run = door.start(x=x, y=y)(*lines).backward("z", g)
    try:
        run.backward("z", g)
    except Fault:
        raise
    except Exception as error:
        if type(error).__module__.startswith("hypothesis"):
            raise
        return
    for name in "xy":
        once, found = right.gradient(name), run.gradient(name)
        if found is None or not (close(found, once) or close(found, 2 * once)):
            raise Fault(
                f"after two passes {name}.grad is {shown(found)}",
                f"{shown(once)} or {shown(2 * once)}",
                "Tensor.backward",
                second=True,
            )


@stage.property("the gradients of two leaves share no memory", arrays=True, examples=2)
def no_shared_memory(door, draw):
    shape = a_shape(draw, door, min_dims=1, max_dims=2)
    for line in ("z = x + y", "z = x - y", "z = x * y"):
        run = door.start(x=numbers(draw, shape), y=numbers(draw, shape))(line)
        run.backward("z", numbers(draw, shape))
        gradients = [run.gradient(name) for name in "xy"]
        if all(g is not None for g in gradients) and np.shares_memory(*gradients):
            raise Fault(
                "x.grad and y.grad share memory: changing one changes both",
                "an array for each",
                "Tensor.backward",
                shared=True,
            )


# ------------------------------------------------------------------------------- suspects

X, Y = np.array(1.5), np.array(0.75)


def is_right(door, *lines, **inputs):
    g = np.full(np.shape(inputs["x"]), 1.25)
    right = RIGHT.start(**inputs)(*lines).backward("z", g)
    run = door.start(**inputs)(*lines).backward("z", g)
    found = {name: run.gradient(name) for name in inputs}
    return all(
        found[name] is not None and close(found[name], right.gradient(name)) for name in inputs
    )


def finds(door, expected, *lines):
    """Tell whether the gradient of x is what is expected."""
    found = door.start(x=X)(*lines).backward("z", np.array(1.0)).gradient("x")
    return found is not None and close(found, np.asarray(expected, dtype=float))


PARTED = ("a = x * 2", "b = x * 3", "z = a + b")
UNEVEN = ("a = x * 2", "b = a * 3", "c = b * 5", "z = a + c")


@stage.suspect(
    "a later gradient overwrites an earlier one: where a Tensor has a gradient already, add to it"
)
def overwritten(door, fault):
    lost = finds(door, 2, *PARTED) or finds(door, 3, *PARTED)
    return lost and not is_right(door, "z = x * x", x=X)


@stage.suspect(
    "`x * x` has the parent x twice, and one of them is lost: keep parents in a tuple, not in a "
    "set or a dict"
)
def parents_in_a_set(door, fault):
    return not is_right(door, "z = x * x", x=X) and is_right(door, *PARTED, x=X)


@stage.suspect(
    "a Tensor sends its gradient on before it has heard from all that it was used for: visit in "
    "topological order"
)
def wrong_order(door, fault):
    if any(key in fault.data for key in ("twice", "second", "shared")):
        return False
    return is_right(door, "z = x * x", x=X) and not (
        is_right(door, *PARTED, x=X) and is_right(door, *UNEVEN, x=X)
    )


@stage.suspect(
    "gradients are added in place, in an array that another Tensor was given, too: compute a new "
    "one, `a + b`"
)
def added_in_place(door, fault):
    if any(key in fault.data for key in ("twice", "second", "shared")):
        return False
    right = all(is_right(door, *lines, x=X) for lines in (["z = x * x"], PARTED, UNEVEN))
    shared = [("v = x + x", "w = v + x", "z = w * 1.5"), ("v = x + x", "w = x + v", "z = w * 1.5")]
    return right and not all(is_right(door, *lines, x=np.array([1.5])) for lines in shared)


@stage.suspect(
    "backward follows every way separately, so its time doubles with every doubling: visit each "
    "Tensor once, in topological order"
)
def per_path(door, fault):
    return "twice" in fault.data


@stage.suspect(
    "gradients of the first pass are still in the middle of the graph, and are sent on again: "
    "begin each pass with empty ones"
)
def left_over(door, fault):
    return "second" in fault.data


@stage.suspect("two gradients are one array: give each leaf a copy of its own")
def one_array(door, fault):
    return "shared" in fault.data

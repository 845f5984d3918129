"""Stage 15, long and lean: 10,000 operations, and a day of training."""

from __future__ import annotations

import contextlib
import gc
import inspect
import sys
import tracemalloc
from collections import Counter

import numpy as np

from ..case import Plain
from ..compare import close, shown
from ..stage import Fault, Stage

stage = Stage(
    number=15,
    name="long and lean",
    contract=("no_grad",),
    lines=("in_order", "RECORDING", "node", "no_grad"),
    needs=(1, 2, 3),
    hints=(
        "Who still holds the first graph?",
        "A list of Tensors to visit instead of recursion, which is limited to 1000; numbers "
        "instead of Tensors in totals; and a flag for recording that is put back, whatever "
        "happens.",
        "`stack = [(self, False)]; while stack: ...`; `total += float(loss.data)`; a context "
        "manager with `try: yield` and `finally:`.",
    ),
    skeleton='''\
@contextlib.contextmanager  # import contextlib
def no_grad():
    """While it lasts, results remember nothing; afterwards all is as before."""
    ...  # stage 15
''',
)


def chain(door, n):
    run = door.start(x=np.array([0.5, 1.5]))
    run.case.lines += ["y = x", f"for _ in range({n}): y = y * 1.0 + x"]
    y = run["x"]
    for _ in range(n):
        y = y * 1.0 + run["x"]
    run.names["y"] = y
    return run


@stage.property("eight times as long a chain takes about eight times as many steps", examples=1)
def linear(door, draw):
    small, large = (effort(door, n) for n in (20, 160))
    if large.total() > 20 * small.total():
        raise Fault(
            f"{large.total()} steps for a chain of 320 operations, {small.total()} for one of 40",
            "about 8 times as many",
            "Tensor.backward",
            slow=True,
            searched=2 * large["searched"] > large.total(),
        )


@contextlib.contextmanager
def replaced(owner, name, value):
    """Give a class or module another attribute for a while."""
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


TURNS = ("<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>")


def effort(door, n):
    """Count what a backward pass does, as time says little on a busy machine.

    That is lines of the file, and apart from them what a search goes through: comparisons of its
    objects or of their ids, and turns of generators and comprehensions.
    """
    run, count = chain(door, n), Counter()
    names, file = vars(door.module), getattr(door.module, "__file__", None)

    def trace(frame, event, argument):
        if frame.f_code.co_filename != file:
            return None
        count["searched" if frame.f_code.co_name in TURNS else "lines"] += 1
        return trace

    def counting(right):
        def equal(self, other):
            count["searched"] += 1
            return right(self, other)

        return equal

    number = type("Id", (int,), {"__eq__": counting(int.__eq__), "__hash__": int.__hash__})

    before = sys.gettrace()
    with contextlib.ExitStack() as stack:
        for found in {v for v in names.values() if inspect.isclass(v)}:
            if found.__module__ == door.module.__name__:
                with contextlib.suppress(AttributeError, TypeError):  # one that cannot be changed
                    stack.enter_context(replaced(found, "__eq__", counting(found.__eq__)))
        stack.enter_context(replaced(door.module, "id", lambda thing: number(id(thing))))
        stack.callback(sys.settrace, before)
        sys.settrace(trace)
        run.backward("y", np.ones(2))
    return count


@stage.property("a chain of 10,000 operations has a backward pass", examples=1, seconds=30)
def long_chain(door, draw):
    run = chain(door, 5000).backward("y", np.array([1.0, 2.0]))
    found, expected = run.gradient("x"), np.array([5001.0, 10002.0])
    if found is None or not close(found, expected):
        raise Fault(f"x.grad is {shown(found)}", shown(expected), "Tensor.backward")


STEP = (
    "optimizer.zero_grad()",
    "loss = ((layer(x) - 1.0) ** 2).mean()",
    "loss.backward()",
    "optimizer.step()",
)


@stage.property("memory stays the same over many steps of training", examples=1, seconds=30)
def flat_memory(door, draw):
    if door.own is not None or 11 in door.substituted:
        return  # backward has another name there; or the course's optimizers may record in it
    for name in ("SGD", "Adam"):
        check_memory(door, name)


def check_memory(door, name):
    run = door.start(x=np.random.default_rng(0).standard_normal((50, 20)))
    run("layer = Linear(20, 20, rng=1)", f"optimizer = {name}(layer.parameters(), lr=0.01)")
    run.case.lines.append("# 20 steps of zero_grad, loss, backward, step")

    def steps(n):
        code = compile("\n".join(STEP), "<case>", "exec")
        for _ in range(n):
            exec(code, run.names)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        before, after = steps(5), steps(15)
    finally:
        if not tracing:
            tracemalloc.stop()
    grown = (after - before) / 15
    if grown > 2000:
        raise Fault(
            f"{grown / 1000:.0f} kB more after each step",
            "nothing that stays",
            f"{name}.step",
            grows=name,
        )


@stage.property("fit keeps no graphs of earlier steps", examples=1, seconds=30)
def lean_fit(door, draw):
    if 11 in door.substituted:
        return
    counts = []
    x = np.random.default_rng(2).random((6, 3))
    run = door.start(x=Plain(x), y=Plain(np.array([0, 1, 2, 0, 1, 2])))("seen = lambda: None")
    run(
        "class Net(Module):\n    def __init__(self):\n        self.a = Linear(3, 3, rng=1)\n\n"
        "    def __call__(self, x):\n        seen()\n        return self.a(x).relu()"
    )

    def seen():
        if len(counts) in (3, 9):
            counts.append(tensors(door))
        else:
            counts.append(0)

    run.names["seen"] = seen
    run("fit(Net(), x, y, epochs=12, rng=np.random.default_rng(1))")
    if len(counts) > 9 and counts[9] - counts[3] > 12:
        raise Fault(
            f"{counts[9] - counts[3]} Tensors more after six steps",
            "as many as before",
            "fit",
            total=True,
        )


def records(door, run, line):
    """Tell whether a gradient passes through what a line computes from x."""
    run(line)
    run("z = y * 2.0")
    try:
        run.backward("z", np.array([1.0, 2.0]))
        found = run.gradient("x")
    except Fault:
        raise
    except Exception as error:
        if type(error).__module__.startswith("hypothesis"):
            raise
        return False
    return found is not None and bool(np.any(found))


X = np.array([1.0, 2.0])


@stage.property("under no_grad nothing is recorded, and afterwards it is again", examples=1)
def nothing_recorded(door, draw):
    run = door.start(x=X)
    if records(door, run, "with no_grad(): y = x * 3.0"):
        raise Fault(
            "a gradient passes through what was computed under no_grad",
            "none",
            "no_grad",
            recorded=True,
        )
    if not close(run.value("y"), 3 * X):
        raise Fault("values differ under no_grad", "the same values", "no_grad")
    if not records(door, door.start(x=X), "y = x * 3.0"):
        raise Fault(
            "after no_grad nothing is recorded", "gradients as before", "no_grad", undone=True
        )


RAISES = """\
try:
    with no_grad():
        raise KeyError
except KeyError:
    pass
"""


@stage.property("what is computed under no_grad holds nothing of what it came from", examples=1)
def nothing_held(door, draw):
    run = door.start(x=X)
    before = tensors(door)
    run("y = x", "with no_grad():\n    for _ in range(50): y = y * 1.0")
    held = tensors(door) - before
    if held > 10:
        raise Fault(
            f"{held} Tensors are held by y, the last of 50 results",
            "none but itself",
            "no_grad",
            held=True,
        )


def tensors(door):
    """Return how many Tensors there are."""
    gc.collect()
    return sum(1 for found in gc.get_objects() if isinstance(found, door.tensor_class))


@stage.property("and so it is after an exception", examples=1)
def after_exception(door, draw):
    run = door.start(x=X)(RAISES)
    if not records(door, run, "y = x * 3.0"):
        raise Fault(
            "after an exception nothing is recorded any more",
            "gradients as before",
            "no_grad",
            exception=True,
        )


@stage.property("no_grad in no_grad: the end of the inner one does not end the outer", examples=1)
def nested(door, draw):
    run = door.start(x=X)
    line = "with no_grad():\n    with no_grad(): pass\n    y = x * 3.0"
    if records(door, run, line):
        raise Fault(
            "after the inner block the outer one records", "nothing", "no_grad", nested=True
        )


# ------------------------------------------------------------------------------- suspects


@stage.suspect(
    "backward calls itself for each parent, and Python's stack ends at about 1000: keep what is to "
    "be visited in a list of your own"
)
def recursion(door, fault):
    return fault.data.get("kind") == "RecursionError"


@stage.suspect(
    "what was visited is searched for in a list, so a graph ten times as large takes a hundred "
    "times as long: use a set"
)
def list_searched(door, fault):
    return bool(fault.data.get("searched"))


@stage.suspect(
    "fit holds the graphs of earlier steps: add float(loss.data) to a total, not the loss, which "
    "holds its whole graph"
)
def total_of_losses(door, fault):
    return "total" in fault.data


@stage.suspect(
    "the update is recorded, so a parameter or what the optimizer keeps of it remembers all "
    "earlier steps: compute with arrays, or under no_grad"
)
def update_recorded(door, fault):
    name = fault.data.get("grows")
    return bool(name) and not grown(door, name) and grown(door, name, "optimizer.step()")


def grown(door, name, *lines):
    """Tell whether Tensors stay after steps that they were made in."""
    run = door.start(x=X)(f"optimizer = {name}([x], lr=0.001)")
    before = tensors(door)
    for _ in range(50):
        run("z = x * 2.0").backward("z", X)
        run(*lines)
    return tensors(door) - before > 40


@stage.suspect(
    "something that is made in every step is kept forever: a list or dict of the engine's "
    "own, outside the Tensors"
)
def kept_for_ever(door, fault):
    return "grows" in fault.data and grown(door, fault.data["grows"])


@stage.suspect("no_grad is not undone by an exception: put the old state back in `finally`")
def no_finally(door, fault):
    return "exception" in fault.data


@stage.suspect("no_grad switches recording on at its end: put back the state that was there before")
def not_restored(door, fault):
    return "nested" in fault.data


@stage.suspect(
    "no_grad has no effect: the function that makes results has to ask whether to record"
)
def no_effect(door, fault):
    return "recorded" in fault.data


@stage.suspect(
    "a result that is made under no_grad still holds its parents, or a vjp that does: give it none"
)
def parents_held(door, fault):
    return "held" in fault.data


@stage.suspect("no_grad is never undone: put the old state back at its end")
def never_undone(door, fault):
    return "undone" in fault.data

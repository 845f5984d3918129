"""Stage 11, optimizers: a step is a rule, so its properties can be told without numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ..compare import apart, close, numbers, shown
from ..stage import Fault, Stage

stage = Stage(
    number=11,
    name="optimizers",
    contract=("SGD", "Adam"),
    hints=(
        "How long is Adam's first step if the gradient is 1,000,000?",
        "Adam divides the average gradient by the root of the average square. Both averages begin "
        "at 0 and are too small by the factor 1 - beta ** t: divide by it.",
        "Keep what belongs to a parameter in lists, in the parameters' order, made of "
        "`list(parameters)`; `t += 1` once a step; skip a parameter whose grad is None.",
    ),
    skeleton='''\
class SGD:
    """p - lr * v with v = momentum * v + gradient."""

    def __init__(self, parameters, lr, momentum=0):
        ...  # stage 11

    def zero_grad(self):
        ...

    def step(self):
        ...


class Adam:
    """p - lr * m / (sqrt(v) + eps), with bias-corrected averages m of g and v of g ** 2."""

    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8):
        ...

    def zero_grad(self):
        ...

    def step(self):
        ...
''',
)


def stepped(run, **gradients):
    """Clear the gradients, give new ones through backward, take a step; None gives none."""
    run("optimizer.zero_grad()")
    for name, g in gradients.items():
        if g is not None:
            run(f"z = {name} * 1.0").backward("z", g)
    run("optimizer.step()")
    return [run.value(name).copy() for name in gradients]


def begin(door, draw, optimizer, names="p", shape=(3,)):
    return door.start(**{name: numbers(draw, shape) for name in names})(f"optimizer = {optimizer}")


def expect(found, expected, where, what, rtol=1e-6, **data):
    if found.shape != expected.shape or not close(found, expected, rtol):
        said = apart(found, expected)
        raise Fault(f"{what} {said[0]}", said[1], where, **data)


@stage.property("after zero_grad a backward pass gives what a first one gives", examples=10)
def zeroed(door, draw):
    g, h = numbers(draw, (3,)), numbers(draw, (3,))
    for name in ("SGD", "Adam"):
        run = begin(door, draw, f"{name}([p], lr=0.1)")
        run("z = p * 1.0").backward("z", g)
        run("optimizer.zero_grad()", "z = p * 1.0").backward("z", h)
        found = run.gradient("p")
        if found is None or not close(found, h):
            raise Fault(
                f"p.grad is {shown(found)}", shown(h), f"{name}.zero_grad", zero=found, g=g, h=h
            )


@stage.property("a new optimizer begins anew, and none knows of another", examples=3)
def anew(door, draw):
    p, g, h = (numbers(draw, (3,)) for _ in range(3))
    for made in ("SGD([{}], lr=0.1, momentum=0.5)", "Adam([{}], lr=0.1)"):
        where = f"{made.partition('(')[0]}.step"
        alone = moves(door.start(p=p), made, ("p", g), ("p", h))
        beside = moves(door.start(p=p, q=p), made, ("p", g), ("q", 100 * h), ("p", h))
        if not close(beside[2], alone[1]) or not close(beside[0], alone[0]):
            raise Fault(
                "an optimizer's steps are other ones beside those of another optimizer",
                "the same ones",
                where,
                outside=True,
            )
        run = door.start(p=p, q=p)
        (right,) = moves(run, made, ("q", -3 * g))
        moves(run, made, ("p", g))
        (found,) = moves(run, made, ("p", -3 * g))
        if not close(found, right):
            raise Fault(
                "a second optimizer of p goes on where the first one ended",
                "it begins anew",
                where,
                outside=True,
            )


def moves(run, made, *steps):
    """Take steps with an optimizer of each parameter; return what each of them adds."""
    names = sorted({name for name, _ in steps})
    run(*(f"optimizer_{name} = {made.format(name)}" for name in names))
    found = []
    for name, g in steps:
        before = run.value(name).copy()
        run(f"optimizer_{name}.zero_grad()", f"z = {name} * 1.0").backward("z", g)
        run(f"optimizer_{name}.step()")
        found.append(run.value(name) - before)
    return found


# -------------------------------------------------------------------------------------- SGD


@stage.property("SGD without momentum: p - lr * g")
def plain(door, draw):
    run = begin(door, draw, "SGD([p], lr=0.1)")
    p, g = run.value("p").copy(), numbers(draw, (3,))
    (after,) = stepped(run, p=g)
    expect(after, p - 0.1 * g, "SGD.step", "p is", sgd=after - p, g=g)


@stage.property("SGD: after two equal gradients the momentum's step is 1 + mu times the first")
def momentum(door, draw):
    mu = draw(st.sampled_from([0.9, 0.5]))
    run = begin(door, draw, f"SGD([p], lr=0.1, momentum={mu})")
    p, g = run.value("p").copy(), numbers(draw, (3,))
    (first,) = stepped(run, p=g)
    expect(first, p - 0.1 * g, "SGD.step", "after the first step p is", sgd=first - p, g=g, mu=mu)
    (second,) = stepped(run, p=g)
    factor = float(np.mean((second - first) / (first - p)))
    if abs(factor - 1 - mu) > 1e-6:
        raise Fault(
            f"the second step is {factor:.6g} times the first",
            f"{1 + mu:g} times",
            "SGD.step",
            factor=factor,
            mu=mu,
        )


@stage.property("SGD: parameters have a velocity each")
def own_velocity(door, draw):
    run = begin(door, draw, "SGD([p, q], lr=0.1, momentum=0.5)", "pq")
    g, h = numbers(draw, (3,)), numbers(draw, (3,))
    before = [run.value("p").copy(), run.value("q").copy()]
    stepped(run, p=g, q=h)
    found = stepped(run, p=g, q=h)
    for name, b, f, d in zip("pq", before, found, (g, h), strict=True):
        expect(f, b - 0.25 * d, "SGD.step", f"{name} is", shared=True)


@stage.property("SGD keeps a gradient as it is, and moves nothing where it is 0 or None")
def gradients_stay(door, draw):
    check_still(door, draw, "SGD({}, lr=0.1, momentum=0.9)", "SGD.step")


def check_still(door, draw, optimizer, where):
    for nothing in (None, np.zeros(3)):
        run = begin(door, draw, optimizer.format("[p, q, r]"), "pqr")
        p, q, r = (run.value(name).copy() for name in "pqr")
        g = numbers(draw, (3,))
        after = stepped(run, p=g, q=nothing, r=g)
        if not close(after[1], q):
            raise Fault("a parameter without a gradient has moved", "it stays", where, still=True)
        if close(after[0], p):
            raise Fault("a parameter with a gradient does not move", "a step", where, moves=False)
        if close(after[2], r):
            raise Fault(
                "a parameter after one without a gradient does not move",
                "a step",
                where,
                stops=True,
            )
    for _ in range(2):  # the first step's velocity is the gradient itself
        found = run.gradient("p")
        if found is not None and found.any() and not close(found, g):
            raise Fault(
                f"step changes the gradient to {shown(found)}", shown(g), where, changed=True
            )
        stepped(run, p=g)


# ------------------------------------------------------------------------------------- Adam


@stage.property("Adam: the first step is lr in size, whatever the gradient's")
def first_step(door, draw):
    size = draw(st.sampled_from([1.0, 1e4, 0.01]))
    run = begin(door, draw, "Adam([p], lr=0.1)")
    p, g = run.value("p").copy(), size * numbers(draw, (3,))
    (after,) = stepped(run, p=g)
    expect(
        after - p,
        -0.1 * g / (np.abs(g) + 1e-8),
        "Adam.step",
        "the step is",
        rtol=1e-4,  # where eps is missing is told with one that can be seen
        rule=True,
    )


@stage.property("Adam: equal gradients give equal steps")
def equal_steps(door, draw):
    run = begin(door, draw, "Adam([p], lr=0.1)")
    before, g = run.value("p").copy(), numbers(draw, (3,))
    for n in range(3):
        (after,) = stepped(run, p=g)
        expect(after - before, -0.1 * np.sign(g), "Adam.step", f"step {n + 1} is", rule=True)
        before = after


@stage.property("Adam: the second step, with betas (0, 0.5) by hand, and with both")
def second_step(door, draw):
    betas = draw(st.sampled_from([(0.0, 0.5), (0.5, 0.5), (0.9, 0.99)]))
    run = begin(door, draw, f"Adam([p], lr=0.1, betas={betas})")
    b1, b2 = betas
    g, h = numbers(draw, (3,)), numbers(draw, (3,))
    (first,) = stepped(run, p=g)
    (second,) = stepped(run, p=h)
    m = (b1 * (1 - b1) * g + (1 - b1) * h) / (1 - b1**2)
    v = (b2 * (1 - b2) * g**2 + (1 - b2) * h**2) / (1 - b2**2)
    expect(
        second - first,
        -0.1 * m / (np.sqrt(v) + 1e-8),
        "Adam.step",
        "the second step is",
        rule=True,
    )


@stage.property("Adam: eps stands beside the root")
def epsilon(door, draw):
    run = begin(door, draw, "Adam([p], lr=0.1, eps=0.5)")
    p, g = run.value("p").copy(), numbers(draw, (3,))
    (after,) = stepped(run, p=g)
    expect(
        after - p,
        -0.1 * g / (np.abs(g) + 0.5),
        "Adam.step",
        "the step is",
        rule=True,
    )


@stage.property("Adam: parameters do not know of each other")
def own_averages(door, draw):
    run = begin(door, draw, "Adam([p, q], lr=0.1)", "pq")
    before = run.value("p").copy(), run.value("q").copy()
    g, h = numbers(draw, (3,)), numbers(draw, (3,))
    stepped(run, p=g, q=h)
    found = stepped(run, p=g, q=h)
    for name, b, f, d in zip("pq", before, found, (g, h), strict=True):
        expect(
            f - b,
            -0.2 * np.sign(d),
            "Adam.step",
            f"after two steps {name} has moved by",
            shared=True,
            rule=True,
        )


@stage.property("Adam keeps a gradient as it is, and moves nothing where it is 0 or None")
def still(door, draw):
    check_still(door, draw, "Adam({}, lr=0.1)", "Adam.step")


# ------------------------------------------------------------------------------------- both


@stage.property("both take any iterable of parameters, also a generator")
def generators(door, draw):
    name = draw(st.sampled_from(["SGD", "Adam"]))
    run = begin(door, draw, f"{name}((t for t in [p]), lr=0.1)")
    p, g = run.value("p").copy(), numbers(draw, (3,))
    for n in range(2):
        (after,) = stepped(run, p=g)
        if close(after, p):
            raise Fault(f"step {n + 1} moves nothing", "a step", f"{name}.step", generator=True)
        p = after


# ------------------------------------------------------------------------------- suspects


def is_step(fault, key, formula):
    found, g = fault.data.get(key), fault.data.get("g")
    return found is not None and g is not None and close(found, formula(g))


#: How the experiment with Adam's rule is made: no number is another one's power or product.
LR, B1, B2, EPS = 0.07, 0.6, 0.83, 0.03
GRADIENTS = np.array([[1.3, -0.4, 1e-7], [-0.7, 0.9, 2e-7], [2.1, 0.2, 1e-7]])


def by_rule(
    sign=-1.0,
    lr=LR,
    m=B1,
    v=B2,
    m_mended=B1,
    v_mended=B2,
    new=(1, 1),
    root=0.5,
    eps=EPS,
    inside=False,
    t=(1, 2, 3),
):
    """Return Adam's steps, or those of a rule that is wrong in something.

    `m` and `v` are the betas of the averages, `m_mended` and `v_mended` those of the corrections;
    `new` are factors of what is averaged.
    """
    found, averages = [], np.zeros((2, 3))
    for n, g in zip(t, GRADIENTS, strict=True):
        averages[0] = m * averages[0] + (1 - m) * new[0] * g
        averages[1] = v * averages[1] + (1 - v) * new[1] * g**2
        mended = averages / (1 - np.array([[m_mended], [v_mended]]) ** n)
        below = np.sqrt(mended[1] + eps) if inside else mended[1] ** root + eps
        found.append(sign * lr * mended[0] / below)
    return np.array(found)


def is_rule(door, fault, *wrong):
    """Tell whether Adam's steps are, in an experiment, those of a wrong rule."""
    if "rule" not in fault.data:
        return False
    run = door.start(p=np.zeros(3))
    run(f"optimizer = Adam([p], lr={LR}, betas=({B1}, {B2}), eps={EPS})")
    places = np.array([run.value("p").copy(), *(stepped(run, p=g)[0] for g in GRADIENTS)])
    return any(close(np.diff(places, axis=0), by_rule(**one)) for one in wrong)


def suspect_rules(cause, *wrong):
    """Add a suspect: rules for Adam that are wrong in one way."""

    @stage.suspect(cause)
    def of_rules(door, fault):
        return is_rule(door, fault, *wrong)


@stage.suspect("it goes uphill: the step is against the gradient, p - lr * g")
def uphill(door, fault):
    return is_step(fault, "sgd", lambda g: 0.1 * g) or is_rule(door, fault, {"sign": 1.0})


@stage.suspect("the learning rate is not in the step")
def no_rate(door, fault):
    return is_step(fault, "sgd", lambda g: -g) or is_rule(door, fault, {"lr": 1.0})


@stage.suspect(
    "what an optimizer remembers is kept outside of it, in the class, a global or the parameter, "
    "where another one finds it: keep it in `self`"
)
def kept_outside(door, fault):
    return "outside" in fault.data


@stage.suspect(
    "the step ends at the first parameter without a gradient: leave that one out, and go on with "
    "the next"
)
def step_ends(door, fault):
    return "stops" in fault.data


@stage.suspect(
    "the momentum damps the gradient, v = mu * v + (1 - mu) * g: here v = mu * v + g is meant"
)
def damped(door, fault):
    mu = fault.data.get("mu")
    return mu is not None and is_step(fault, "sgd", lambda g: -0.1 * (1 - mu) * g)


@stage.suspect("the velocity is not remembered from step to step")
def no_velocity(door, fault):
    forgotten = "mu" in fault.data and abs(fault.data.get("factor", 0) - 1) < 1e-6
    return forgotten and not velocity_is_cleared(door)


@stage.suspect(
    "the velocity is the gradient's own array, which zero_grad clears: remember a new array"
)
def velocity_cleared(door, fault):
    return "factor" in fault.data and velocity_is_cleared(door)


def velocity_is_cleared(door):
    """Tell whether zero_grad clears an array that SGD remembers."""
    run = door.start(p=np.zeros(1))("optimizer = SGD([p], lr=0.1, momentum=0.5)")
    stepped(run, p=np.ones(1))
    g = door.gradient(run["p"])
    held = [a for a in arrays_in(door, vars(run["optimizer"])) if np.shares_memory(a, g)]
    run("optimizer.zero_grad()")
    return bool(held) and not any(a.any() for a in held)


def arrays_in(door, place):
    """Yield the arrays in lists, tuples, dicts and Tensors, and below."""
    if isinstance(place, np.ndarray):
        yield place
    elif door.is_tensor(place):
        yield door.value(place)
    elif isinstance(place, (list, tuple, dict)):
        for inside in place.values() if isinstance(place, dict) else place:
            yield from arrays_in(door, inside)


@stage.suspect("this is Nesterov's momentum: here p - lr * v with v = mu * v + g is meant")
def nesterov(door, fault):
    mu = fault.data.get("mu")
    return mu is not None and is_step(fault, "sgd", lambda g: -0.1 * (1 + mu) * g)


@stage.suspect("the parameters share what is remembered: keep one for each, in a list")
def shared(door, fault):
    return "shared" in fault.data and not counts_parameters(door)


@stage.suspect("zero_grad does not clear the gradients, so they add up")
def zero_grad_empty(door, fault):
    found = fault.data.get("zero")
    return found is not None and close(found, fault.data["g"] + fault.data["h"])


@stage.suspect(
    "a generator of parameters can be gone through once: keep list(parameters) in the optimizer"
)
def generator_used_up(door, fault):
    return "generator" in fault.data


suspect_rules(
    "the bias correction is missing: divide m by 1 - beta1 ** t and v by 1 - beta2 ** t",
    {"m_mended": 0, "v_mended": 0},
)
suspect_rules(
    "one of the two averages is not corrected: divide m by 1 - beta1 ** t, and v by 1 - beta2 ** t",
    {"m_mended": 0},
    {"v_mended": 0},
)
suspect_rules("the root is missing: divide by sqrt(v), not by v", {"root": 1})
suspect_rules("eps is missing: it is added to sqrt(v), so that nothing is divided by 0", {"eps": 0})
suspect_rules("eps stands inside the root: it is added to sqrt(v)", {"inside": True})
suspect_rules(
    "beta1 and beta2 are exchanged: beta1 is for the gradient, beta2 for its square",
    {"m": B2, "v": B1, "m_mended": B2, "v_mended": B1},
    {"m": B2, "v": B1},
    {"m_mended": B2, "v_mended": B1},
)
suspect_rules(
    "beta1 stands where beta2 belongs: the average of g ** 2, and its correction, are by beta2",
    {"v": B1, "v_mended": B1},
    {"v": B1},
    {"v_mended": B1},
)
suspect_rules(
    "beta2 stands where beta1 belongs: the average of g, and its correction, are by beta1",
    {"m": B2, "m_mended": B2},
    {"m": B2},
    {"m_mended": B2},
)
suspect_rules(
    "the weights of an average are beta for what it was, and 1 - beta for what is new",
    {"new": (1 / (1 - B1), 1)},
    {"new": (1, 1 / (1 - B2))},
    {"new": (1 / (1 - B1), 1 / (1 - B2))},
    {"m": 1 - B1},
    {"v": 1 - B2},
    {"m": 1 - B1, "v": 1 - B2},
)
suspect_rules(
    "betas or eps are not used as they are given: keep them in `__init__`",
    {"m": 0.9, "m_mended": 0.9, "v": 0.999, "v_mended": 0.999},
    {"eps": 1e-8},
    {"m": 0.9, "m_mended": 0.9, "v": 0.999, "v_mended": 0.999, "eps": 1e-8},
)
suspect_rules("t is one too large: in the first step it is 1", {"t": (2, 3, 4)})


@stage.suspect("t does not grow, or grows for each parameter: count it once a step")
def counter(door, fault):
    return is_rule(door, fault, {"t": (1, 1, 1)}) or (
        "rule" in fault.data and "shared" in fault.data and counts_parameters(door)
    )


def counts_parameters(door):
    """Tell whether Adam takes the second parameter's first step for its second."""
    run = door.start(p=np.zeros(1), q=np.zeros(1))("optimizer = Adam([p, q], lr=0.1)")
    moved = [float(v[0]) for v in stepped(run, p=np.ones(1), q=np.ones(1))]

    def step(t):
        return -0.1 * (0.1 / (1 - 0.9**t)) / np.sqrt(0.001 / (1 - 0.999**t))

    return any(np.allclose(moved, [step(t), step(t + 1)], rtol=1e-4) for t in (0.5, 1, 2))


@stage.suspect("step changes the gradient itself: compute with new arrays")
def gradient_changed(door, fault):
    return "changed" in fault.data

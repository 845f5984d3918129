"""Stage 12, dropout: the mask belongs to the call."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ..compare import close, numbers, shown
from ..door import Bridge
from ..stage import Fault, Stage

stage = Stage(
    number=12,
    name="dropout",
    contract=("Dropout",),
    hints=(
        "Which units took part in the loss?",
        "Those that did not have gradient 0; the others 1 / (1 - p) times that of the output. One "
        "mask decides both, forward and backward.",
        "`kept = ...`; `return node(value, (x,), lambda g: (something with kept and g,))`",
    ),
    skeleton='''\
class Dropout(Module):
    """Zero each unit with probability p while training, and scale the others."""

    def __init__(self, p=0.5, rng=None):
        self.p, self.rng, self.training = p, np.random.default_rng(rng), True

    def __call__(self, x):
        ...  # stage 12: one mask for this call, used forward and backward
''',
)

P = (0.3, 0.8, 0.5)
WHERE = "Dropout.__call__"


def started(door, draw, shape=None, **more):
    p, seed = draw(st.sampled_from(P)), draw(st.integers(0, 1000))
    x = {} if shape is None else {"x": numbers(draw, shape)}
    return door.start(**x, p=p, seed=seed, **more)("layer = Dropout(p, rng=seed)"), p


def kept_of(run, name="y"):
    return run.value(name) != 0


@stage.property("p = 0 drops nothing, and p = 1 everything", layers=True, examples=4)
def ends(door, draw):
    p = draw(st.sampled_from([0.0, 1.0]))
    x = numbers(draw, (3, 4))
    run = door.start(x=x, p=p)("layer = Dropout(p, rng=0)", "y = layer(x)")
    expected = x if p == 0 else np.zeros_like(x)
    if not close(run.value("y"), expected):
        raise Fault(
            f"y.data is {shown(run.value('y').ravel()[:3])} ...",
            f"{shown(expected.ravel()[:3])} ...",
            WHERE,
            share=p,
        )


@stage.property("what is kept is x / (1 - p)", layers=True)
def scaled(door, draw):
    run, p = started(door, draw, (4, 5))
    y, x = run("y = layer(x)").value("y"), run.value("x")
    kept = y != 0
    if not close(y[kept], x[kept] / (1 - p)):
        raise Fault(
            f"a kept unit is {y[kept][0] / x[kept][0]:.4g} times as large",
            f"{1 / (1 - p):.4g} times",
            WHERE,
            factor=float(y[kept][0] / x[kept][0]),
            p=p,
        )


@stage.property("rows differ, and so do calls", layers=True, examples=5)
def differ(door, draw):
    run, _ = started(door, draw, (6, 40))
    first, second = kept_of(run("y = layer(x)")), kept_of(run("w = layer(x)"), "w")
    if np.array_equal(first, second):
        raise Fault("two calls drop the same units", "other ones in each call", WHERE, same="calls")
    if all(np.array_equal(first[0], row) for row in first[1:]):
        same = "rows" if first.any() and not first.all() else "all"
        raise Fault("all rows drop the same units", "other ones in each", WHERE, same=same)
    if all(np.array_equal(first[:, 0], column) for column in first.T):
        raise Fault("a row is dropped as a whole", "each unit by itself", WHERE, same="rows")


@stage.property("in training, the share of p is dropped, near enough", layers=True, examples=10)
def share(door, draw):
    run, p = started(door, draw)
    run("x = Tensor(np.ones((40, 50)))", "y = layer(x)")  # as numbers they would fill the case
    dropped = float(np.mean(run.value("y") == 0))
    if abs(dropped - p) > 0.07:  # six standard deviations
        raise Fault(f"{dropped:.0%} are dropped", f"about {p:.0%}", WHERE, share=dropped, p=p)


@stage.property("the same rng gives the same units: all chance comes from it", layers=True)
def seeded(door, draw):
    run, _ = started(door, draw, (5, 20))
    run("y = layer(x)", "again = Dropout(p, rng=seed)", "w = again(x)")
    if not np.array_equal(kept_of(run), kept_of(run, "w")):
        raise Fault("two layers of one seed drop different units", "the same ones", WHERE, seed=1)
    for name in "ab":
        run(f"{name} = Dropout(p, rng=np.random.default_rng(seed))(x)")
    if not np.array_equal(kept_of(run, "a"), kept_of(run, "b")):
        raise Fault("two layers of one seed drop different units", "the same ones", WHERE, seed=1)


@stage.property(
    "the gradient is 0 where a unit was dropped, and 1 / (1 - p) times g elsewhere", layers=True
)
def gradient(door, draw):
    run, p = started(door, draw, (4, 5))
    run("y = layer(x)")
    g = numbers(draw, (4, 5))
    kept = kept_of(run)
    check_gradient_of(run.backward("y", g), "x", kept, g, p)


def check_gradient_of(run, name, kept, g, p, **data):
    expected = np.where(kept, g / (1 - p), 0)
    found = run.gradient(name)
    if found is None:
        found = np.zeros_like(g)
    if found.shape == expected.shape and close(found, expected):
        return
    data = {"gradient": found, "kept": kept, "g": g, "p": p, **data}
    if found.shape != expected.shape:
        raise Fault(f"x.grad has shape {found.shape}", f"shape {expected.shape}", WHERE, **data)
    wrong = ~np.isclose(found, expected)
    lost, leaked = int(np.sum(wrong & kept)), int(np.sum(wrong & ~kept))
    nothing = not found.any() and bool(kept.any())
    raise Fault(
        f"{leaked} of {int(np.sum(~kept))} dropped units have a gradient, and "
        f"{lost} of {int(np.sum(kept))} kept ones a wrong one",
        "0 for the dropped, g / (1 - p) for the kept",
        WHERE,
        nothing=nothing,
        **data,
    )


@stage.property("the same where x itself is 0: a zero is not a dropped unit", layers=True)
def zeros(door, draw):
    p, seed = draw(st.sampled_from(P)), draw(st.integers(0, 1000))
    zeros = {"x": np.zeros((5, 8)), "x1": np.ones((5, 8))}
    run = door.start(**zeros, p=p, seed=seed)
    run("y = Dropout(p, rng=seed)(x)", "w = Dropout(p, rng=seed)(x1)")
    g = numbers(draw, (5, 8))
    check_gradient_of(run.backward("y", g), "x", kept_of(run, "w"), g, p, zeros=True)


@stage.property("two calls before one backward pass: each has its own mask")
def own_mask(door, draw):
    run, p = started(door, draw, (4, 6), x2=numbers(draw, (4, 6)))
    run("y = layer(x)", "w = layer(x2)", "z = y * 1.5 + w")
    g = numbers(draw, (4, 6))
    first, second = kept_of(run), kept_of(run, "w")
    run.backward("z", g)
    check_gradient_of(run, "x", first, 1.5 * g, p, other=second, calls=True)
    check_gradient_of(run, "x2", second, g, p, other=first, calls=True)


@stage.property("one call, two backward passes, where a second is allowed: the same mask")
def same_mask(door, draw):
    run, p = started(door, draw, (4, 6))
    run("y = layer(x)")
    g = numbers(draw, (4, 6))
    kept = kept_of(run)
    run.backward("y", g)
    try:
        run.backward("y", g)
    except Fault:
        raise
    except Exception as error:
        innermost = error.__traceback__
        while innermost is not None and innermost.tb_next is not None:
            innermost = innermost.tb_next
        place = door.place(WHERE)
        code = innermost.tb_frame.f_code if innermost else None
        if place is None or code is None or code not in place.co_consts:
            return  # the engine allows one pass only
        raise Fault(
            f"the second pass raises {type(error).__name__} in the vjp",
            "the same gradient again",
            WHERE,
            gone=True,
        ) from error
    found = run.gradient("x")
    once = np.where(kept, g / (1 - p), 0)
    if found is None or not (close(found, once) or close(found, 2 * once)):
        raise Fault(
            "the second pass has another mask or none",
            "the same gradient as in the first, alone or added to it",
            WHERE,
            gone=True,
        )


@stage.property("in evaluation, layer.training = False, it is the identity", layers=True)
def evaluation(door, draw):
    run, p = started(door, draw, (3, 4))
    run("layer.training = False", "y = layer(x)", "z = y * 1.0")
    if not close(run.value("y"), run.value("x")):
        factor = float(np.median(run.value("y") / run.value("x")))
        raise Fault(
            "the output is not x", "x, unchanged", WHERE, evaluation=True, factor=factor, p=p
        )
    g = numbers(draw, (3, 4))
    found = run.backward("z", g).gradient("x")
    if found is None or not close(found, g):
        raise Fault(
            "the gradient is not g", "g, unchanged", WHERE, evaluation=True, nothing=found is None
        )


@stage.property("a dropped inf is 0", layers=True)
def infinite(door, draw):
    p, seed = draw(st.sampled_from(P)), draw(st.integers(0, 1000))
    x = np.full((4, 5), np.inf)
    run = door.start(x=x, ones=np.ones((4, 5)), p=p, seed=seed)
    run("y = Dropout(p, rng=seed)(x)", "w = Dropout(p, rng=seed)(ones)")
    expected = np.where(kept_of(run, "w"), np.inf, 0)
    found = run.value("y")
    if not np.array_equal(found, expected):
        raise Fault(
            "nan where inf was dropped" if np.isnan(found).any() else "not 0 where inf was dropped",
            "0 where dropped, inf where kept",
            WHERE,
            infinite=bool(np.isnan(found).any()),
        )


@stage.property("x stays as it was", layers=True)
def input_stays(door, draw):
    run, _ = started(door, draw, (3, 4))
    before = run.value("x").copy()
    state = np.random.get_state()[1].tobytes()  # noqa: NPY002 (whether it was used)
    run("y = layer(x)")
    if not np.array_equal(run.value("x"), before):
        raise Fault("x.data has changed", "the same numbers as before", WHERE, changed=True)
    if np.random.get_state()[1].tobytes() != state:  # noqa: NPY002
        door.note("Dropout draws from NumPy's global generator: a seed given as rng cannot count.")


# ------------------------------------------------------------------------------- suspects


def is_gradient(fault, expected):
    """Tell whether the gradient that was found is something else, exactly."""
    found = fault.data.get("gradient")
    return found is not None and found.shape == expected.shape and close(found, expected)


@stage.suspect("the way back draws a new mask: the vjp has to use the mask that its own call drew")
def new_mask(door, fault):
    if "gradient" not in fault.data or "zeros" in fault.data:
        return False
    run = door.start(x=np.ones((6, 30)))("layer = Dropout(0.5, rng=1)", "y = layer(x)")
    kept = kept_of(run)
    found = run.backward("y", np.ones((6, 30))).gradient("x")
    drawn = found != 0
    # About as many zeros as there should be, but in other places.
    return (
        not np.array_equal(drawn, kept)
        and 0.25 < drawn.mean() < 0.75
        and set(np.unique(np.round(found, 6))) <= {0.0, 2.0}
    )


@stage.suspect(
    "the mask is kept in the layer, where the second call overwrites the first one's: it belongs "
    "to the call, so let the vjp hold it"
)
def mask_in_layer(door, fault):
    other = fault.data.get("other")
    if other is None:
        return False
    g, p = fault.data["g"], fault.data["p"]
    return is_gradient(fault, np.where(other, g / (1 - p), 0))


@stage.suspect("the kept units are not scaled: divide them by 1 - p")
def no_scale(door, fault):
    return fault.data.get("factor") == 1.0 and not fault.data.get("evaluation")


@stage.suspect("the scale is wrong: a unit is kept with probability 1 - p, so divide by 1 - p")
def wrong_scale(door, fault):
    factor, p = fault.data.get("factor"), fault.data.get("p")
    if factor is None or fault.data.get("evaluation"):
        return False
    return p != 0.5 and any(abs(factor - wrong) < 1e-6 for wrong in (1 / p, 1 - p, p))


@stage.suspect("p is the probability of dropping a unit, and here it keeps one")
def p_keeps(door, fault):
    if "share" not in fault.data:
        return False
    run = door.start(x=np.ones((40, 50)))("layer = Dropout(0.2, rng=1)", "y = layer(x)")
    return bool(abs(np.mean(run.value("y") == 0) - 0.8) < 0.07)


@stage.suspect("the scale is missing on the way back: a kept unit's gradient is g / (1 - p)")
def scale_forward_only(door, fault):
    if "kept" not in fault.data:
        return False
    return is_gradient(fault, np.where(fault.data["kept"], fault.data["g"], 0))


@stage.suspect(
    "the way back has no mask: the gradient of a dropped unit is 0, as it took no part in the loss"
)
def no_mask_backward(door, fault):
    if "kept" not in fault.data or "zeros" in fault.data:
        return False
    g, p = fault.data["g"], fault.data["p"]
    return is_gradient(fault, g) or is_gradient(fault, g / (1 - p))


@stage.suspect("it drops in evaluation, too: where layer.training is False, return x")
def drops_in_evaluation(door, fault):
    if "evaluation" not in fault.data:
        return False
    run = door.start(x=np.ones((6, 30)))("layer = Dropout(0.5, rng=1)", "layer.training = False")
    return bool((run("y = layer(x)").value("y") == 0).any())


@stage.suspect(
    "it scales in evaluation: the scaling was done in training already, so return x as it is"
)
def scales_in_evaluation(door, fault):
    if "evaluation" not in fault.data:
        return False
    run = door.start(x=np.ones((6, 30)))("layer = Dropout(0.3, rng=1)", "layer.training = False")
    y = run("y = layer(x)").value("y")
    return bool(np.ptp(y) == 0 and y[0, 0] != 1)


@stage.suspect("inf * 0 is nan: choose with np.where instead of multiplying by the mask")
def inf_times_zero(door, fault):
    return bool(fault.data.get("infinite"))


@stage.suspect(
    "the mask is guessed from zeros in the values: where x is 0 nothing was dropped for that. Keep "
    "the mask that was drawn"
)
def guessed(door, fault):
    return "zeros" in fault.data


@stage.suspect("the mask is gone after one backward pass: the vjp may be called again")
def mask_gone(door, fault):
    return "gone" in fault.data


@stage.suspect(
    "the mask is drawn once and kept: draw one in each call, with one generator for all calls"
)
def drawn_once(door, fault):
    return fault.data.get("same") == "calls" and mask_is_kept(door)


def mask_is_kept(door):
    """Tell whether the layer holds an array of x's size from one call to the next."""
    run = door.start(x=np.ones((6, 40)))("layer = Dropout(0.5)", "y = layer(x)")
    layer = run["layer"].layer if isinstance(run["layer"], Bridge) else run["layer"]

    def held():
        return {id(a): a for a in vars(layer).values() if np.size(door.as_array(a)) == 240}

    before = held()
    run("w = layer(x)")
    return bool(before) and before.keys() == held().keys()


@stage.suspect(
    "each call makes a generator from the same seed, which starts over: make it once, in `__init__`"
)
def new_generator(door, fault):
    return fault.data.get("same") == "calls" and starts_over(door)


def starts_over(door):
    """Tell whether a smaller mask is the beginning of a larger one, as one seed would have it."""
    run = door.start(x=np.ones((6, 40)), x2=np.ones((3, 40)))("layer = Dropout(0.5, rng=1)")
    run("y = layer(x)", "w = layer(x2)")
    return np.array_equal(kept_of(run, "w"), kept_of(run)[:3])


@stage.suspect("the mask has the shape of one row or column: draw it with the shape of x")
def one_row(door, fault):
    return fault.data.get("same") == "rows"


@stage.suspect("one number decides about all units: draw one for each, in the shape of x")
def one_number(door, fault):
    return fault.data.get("same") == "all"


@stage.suspect("the numbers do not come from rng: draw with self.rng, not with np.random")
def other_generator(door, fault):
    return "seed" in fault.data


@stage.suspect("x is changed in place: compute a new array")
def changed_in_place(door, fault):
    return "changed" in fault.data

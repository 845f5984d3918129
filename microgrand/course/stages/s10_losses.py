"""Stage 10, losses: one number, safely."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ..case import Plain
from ..compare import OUTSIDE, OWN_CALL, RIGHT, check_gradients, close, is_right, numbers
from ..stage import Fault, Stage

stage = Stage(
    number=10,
    name="losses",
    contract=("mse", "cross_entropy"),
    hints=(
        "Which number may be subtracted from all logits?",
        "The largest of each row; then the logarithm of the sum, not the sum of logarithms. The "
        "gradient is the probabilities minus one at the label, over the number of rows.",
        "`z = x - x.max(axis=1, keepdims=True)`; `logp = z - np.log(np.exp(z).sum(axis=1, "
        "keepdims=True))`; `logp[np.arange(n), labels]`",
    ),
    skeleton='''\
def mse(prediction, target):
    """Return the mean of the squared differences from an array, over all elements."""
    ...  # stage 10: a 0-d Tensor


def cross_entropy(logits, labels):
    """Return the mean of -log(softmax(logits)[label]) over the rows; labels are integers."""
    ...
''',
)

MSE, CROSS = "z = mse(x, a)", "z = cross_entropy(x, a)"


def batch(draw):
    n, classes = draw(st.integers(2, 4)), draw(st.integers(2, 4))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    return numbers(draw, (n, classes)), Plain(np.array(labels))


def check_loss(door, line, where, x, a, **data):
    expected = RIGHT.start(x=x, a=a)(line).value("z")
    found = door.start(x=x, a=a)(line).value("z")
    if found.shape != ():
        raise Fault(
            f"it has shape {found.shape}", "one number, of shape ()", where, shape=found.shape
        )
    if not close(found, expected):
        raise Fault(f"{float(found):.6g}", f"{float(expected):.6g}", where, line=line, **data)


@stage.property("mse is the mean of the squared differences")
def mse_value(door, draw):
    shape = draw(st.sampled_from([(3,), (2, 3), (4, 1)]))
    check_loss(door, MSE, "mse", numbers(draw, shape), Plain(numbers(draw, shape)), value="mse")


@stage.property("mse: the gradient, also of a multiple of the loss")
def mse_gradient(door, draw):
    shape = draw(st.sampled_from([(3,), (2, 3), (4, 1)]))
    x, a = numbers(draw, shape), Plain(numbers(draw, shape))
    check_gradients(door, MSE, where="mse", x=x, a=a)


@stage.property("cross_entropy is the mean of -log(softmax(logits)[label])")
def value(door, draw):
    different = numbers(draw, (3, 3)), Plain(np.array([2, 0, 1]))  # which those drawn may not be
    for x, labels in (batch(draw), different):
        check_loss(door, CROSS, "cross_entropy", x, labels, value="cross")


@stage.property("of equal logits it is log(classes)", examples=4)
def of_equal_logits(door, draw):
    n = draw(st.integers(2, 10))
    x, a = np.full((3, n), 1.5), Plain(np.array([0, 1, 0]))
    check_loss(door, CROSS, "cross_entropy", x, a, value="cross")


@stage.property("it is finite and right for logits of 10,000 and of -10,000", examples=6)
def large(door, draw):
    size = draw(st.sampled_from([1e4, -1e4]))
    x, a = batch(draw)
    x = size + x
    if draw(st.booleans()):
        x[0, 0] *= -1
    run = door.start(x=x, a=a)(CROSS)
    found, expected = run.value("z"), RIGHT.start(x=x, a=a)(CROSS).value("z")
    if not close(found, expected, 1e-5):
        raise Fault(
            f"{float(np.ravel(found)[0]):.6g}",
            f"{float(expected):.6g}",
            "cross_entropy",
            large=not np.isfinite(found).all(),
        )
    run.backward("z", np.array(1.5))
    gradient = run.gradient("x")
    if gradient is None or not np.isfinite(gradient).all():
        raise Fault(
            "the gradient is not finite",
            "finite numbers",
            "cross_entropy",
            large=True,
            nothing=gradient is None,
        )


@stage.property("adding a number to all logits of a row changes nothing", examples=10)
def shifted(door, draw):
    x, a = batch(draw)
    run = door.start(x=x, x2=x + numbers(draw, (len(x), 1)), a=a)
    run(CROSS, "w = cross_entropy(x2, a)")
    if not close(run.value("z"), run.value("w")):
        raise Fault(
            f"{float(run.value('w')):.6g}",
            f"{float(run.value('z')):.6g}, as before",
            "cross_entropy",
        )


@stage.property("cross_entropy: the gradient")
def gradient(door, draw):
    x, a = batch(draw)
    cross_gradient(door, x, a, np.array(1.0))


@stage.property("and of a multiple of the loss: g counts", examples=10)
def of_a_multiple(door, draw):
    x, a = batch(draw)
    cross_gradient(door, x, a, numbers(draw, ()))


def cross_gradient(door, x, a, g):
    right = RIGHT.start(x=x, a=a)(CROSS).backward("z", g).gradient("x")
    run = door.start(x=x, a=a)(CROSS)
    run.value("z")
    found = run.backward("z", g).gradient("x")
    data = {"g": g, "gradient": found, "right": right, "line": CROSS}
    if found is None:
        raise Fault("x.grad is None", "an array", "cross_entropy", nothing=True, **data)
    if found.shape != right.shape or not close(found, right):
        raise Fault(
            f"x.grad is {np.round(found.ravel()[:3], 4).tolist()} ...",
            f"{np.round(right.ravel()[:3], 4).tolist()} ...",
            "cross_entropy",
            nothing=not found.any(),
            **data,
        )


@stage.property(OWN_CALL, examples=5)
def own_calls(door, draw):
    x, a = batch(draw)
    u, b = batch(draw)
    check_gradients(door, *TWO_CROSS, where="cross_entropy", x=x, a=a, u=u, b=b)
    t, s = Plain(numbers(draw, x.shape)), Plain(numbers(draw, u.shape))
    check_gradients(door, *TWO_MSE, where="mse", x=x, a=t, u=u, b=s)


@stage.property(
    "a second way back, where it is allowed, finds what the first one found", examples=3
)
def second_pass(door, draw):
    x, a = batch(draw)
    for line, given in ((CROSS, a), (MSE, Plain(numbers(draw, x.shape)))):
        g = numbers(draw, ())
        once = RIGHT.start(x=x, a=given)(line).backward("z", g).gradient("x")
        run = door.start(x=x, a=given)(line).backward("z", g)
        try:
            run.backward("z", g)
        except Fault:
            raise
        except Exception:
            continue  # the engine allows one pass only
        found = run.gradient("x")
        if found is None or not (close(found, once) or close(found, 2 * once)):
            raise Fault(
                "the second pass has another gradient",
                "the same as in the first, alone or added to it",
                line.split()[2].partition("(")[0],
                spoiled=True,
            )


@stage.property("what a loss is given stays as it was", examples=3)
def arguments_stay(door, draw):
    x, a = batch(draw)
    for line, given in ((CROSS, a), (MSE, Plain(numbers(draw, x.shape)))):
        run = door.start(x=x, a=given)(line).backward("z", np.array(1.0))
        for name, now, before in (("x", run.value("x"), x), ("a", run["a"], given.array)):
            if not np.array_equal(now, before):
                raise Fault(
                    f"{name} has changed",
                    "the same numbers as before",
                    line.split()[2].partition("(")[0],
                    changed=True,
                )


TWO_CROSS = ("v = cross_entropy(x, a)", "w = cross_entropy(u, b)", "z = v + w * 2.0")
TWO_MSE = ("v = mse(x, a)", "w = mse(u, b)", "z = v + w * 2.0")


# ------------------------------------------------------------------------------- suspects


@stage.suspect(OUTSIDE)
def outside(door, fault):
    given, lines = door.case.inputs, door.case.lines
    if not {"u", "b"} <= set(given):
        return False
    alone = [("x", "a", lines[0]), ("u", "b", lines[1])]
    return all(is_right(door, f"z{t[1:]}", **{n: given[n], m: given[m]}) for n, m, t in alone)


@stage.suspect(
    "the vjp changes what it remembers, and finds that in a second pass: change a copy of it"
)
def vjp_spoils(door, fault):
    return "spoiled" in fault.data


@stage.suspect("what the loss was given is changed in place: compute a new array")
def given_changed(door, fault):
    return "changed" in fault.data


X = np.random.default_rng(1).uniform(-1, 1, (4, 3))
LABELS = np.array([0, 2, 1, 2])
G = 1.75


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def values_of(door, line, a):
    return door.start(x=X, a=Plain(a))(line).value("z")


def gradient_of(door, line, a, g=G):
    run = door.start(x=X, a=Plain(a))(line)
    run.value("z")
    return run.backward("z", np.array(g)).gradient("x")


@stage.suspect("exp overflows: subtract the largest logit of each row first, which changes nothing")
def overflows(door, fault):
    return bool(fault.data.get("large")) and not np.isfinite(values_at(door, 1e4 + X))


def values_at(door, x):
    with np.errstate(all="ignore"):
        return door.start(x=x, a=Plain(LABELS))(CROSS).value("z")


@stage.suspect(
    "a probability has become 0 before its logarithm is taken: use `z - log(sum(exp(z)))` in place "
    "of the logarithm of the softmax"
)
def logarithm_of_zero(door, fault):
    far = np.array([[-1e4, 0.0, 0.0]] * 4)
    lost = np.isfinite(values_at(door, 1e4 + X)) and not np.isfinite(values_at(door, far))
    return bool(fault.data.get("large")) and bool(lost)


@stage.suspect(
    "the largest of all logits is subtracted, and far below it exp is 0: take that of each row, "
    "with axis=1 and keepdims=True"
)
def one_maximum(door, fault):
    mixed, far = X.copy(), np.array([[-1e4, 0.0, 0.0]] * 4)
    mixed[0] += 1e4
    fine = all(np.isfinite(values_at(door, x)) for x in (1e4 + X, far))
    return bool(fault.data.get("large")) and fine and not np.isfinite(values_at(door, mixed))


@stage.suspect("it is averaged over the classes, too: the loss is the mean over the rows")
def over_classes(door, fault):
    said = -np.log(softmax(X))[np.arange(4), LABELS].sum() / X.size
    return fault.data.get("value") == "cross" and close(values_of(door, CROSS, LABELS), said)


@stage.suspect(
    "`logp[:, labels]` takes every label for every row: `logp[np.arange(n), labels]` takes pairs"
)
def all_pairs(door, fault):
    if fault.data.get("value") != "cross":
        return False
    return close(values_of(door, CROSS, LABELS), -np.log(softmax(X))[:, LABELS].mean())


@stage.suspect("softmax is taken twice: cross_entropy is given logits, not probabilities")
def softmax_twice(door, fault):
    said = -np.log(softmax(softmax(X)))[np.arange(4), LABELS].mean()
    return fault.data.get("value") == "cross" and close(values_of(door, CROSS, LABELS), said)


@stage.suspect("it is the sum over the batch: the loss is the mean")
def summed(door, fault):
    kind = fault.data.get("value")
    if kind == "cross":
        said = -np.log(softmax(X))[np.arange(4), LABELS].sum()
        return close(values_of(door, CROSS, LABELS), said)
    return kind == "mse" and close(values_of(door, MSE, X * 0), (X**2).sum())


@stage.suspect("the sign: a loss is large where the answer is improbable, so it is -log(p)")
def wrong_sign(door, fault):
    said = np.log(softmax(X))[np.arange(4), LABELS].mean()
    return fault.data.get("value") == "cross" and close(values_of(door, CROSS, LABELS), said)


@stage.suspect("mse averages over all elements, not over rows only")
def rows_only(door, fault):
    return fault.data.get("value") == "mse" and close(
        values_of(door, MSE, X * 0), (X**2).sum(axis=1).mean()
    )


@stage.suspect("mse is halved: here it is the plain mean of the squares")
def halved(door, fault):
    return fault.data.get("value") == "mse" and close(
        values_of(door, MSE, X * 0), (X**2).mean() / 2
    )


@stage.suspect("a loss is one number: take the mean over the batch")
def not_reduced(door, fault):
    return bool(fault.data.get("shape"))


ONE_HOT = np.eye(3)[LABELS]


def gradient_is(formula):
    def explains(door, fault):
        if "gradient" not in fault.data or fault.data.get("line") != CROSS:
            return False
        found = gradient_of(door, CROSS, LABELS)
        return found is not None and close(found, np.asarray(formula))

    return explains


for formula, cause in (
    (
        G * (softmax(X) - ONE_HOT),
        "the loss is a mean over n rows: so is its gradient, 1 / n is missing",
    ),
    (
        G * softmax(X) / 4,
        "the label is not subtracted: the gradient is the probabilities minus one "
        "at the label, over n",
    ),
    (
        (softmax(X) - ONE_HOT) / 4,
        "g is ignored: the gradient of a multiple of the loss is the multiple of its gradient",
    ),
    (
        G * (ONE_HOT - softmax(X)) / 4,
        "the sign: the gradient is the probabilities minus one at the "
        "label, not the other way round",
    ),
    (
        -G * ONE_HOT / 4,
        "the gradient misses the logarithm of the sum: it is the probabilities "
        "minus one at the label",
    ),
    (
        G * (softmax(X) - ONE_HOT) / 12,
        "1 / n stands for the rows: the number of classes is not in it",
    ),
):
    stage.suspect(cause)(gradient_is(formula))


@stage.suspect(
    "the difference is detached: compute mse with Tensors, or give its vjp 2 * d * g / n"
)
def mse_detached(door, fault):
    return fault.data.get("line") == MSE and bool(fault.data.get("nothing"))


@stage.suspect("mse is a mean over n elements: so is its gradient, 1 / n is missing")
def mse_without_n(door, fault):
    if fault.data.get("line") != MSE or "gradient" not in fault.data:
        return False
    return close(gradient_of(door, MSE, X * 0), 2 * X * G)


@stage.suspect("the derivative of d ** 2 is 2 * d: the factor 2 is missing")
def mse_without_two(door, fault):
    if fault.data.get("line") != MSE or "gradient" not in fault.data:
        return False
    return close(gradient_of(door, MSE, X * 0), X * G / X.size)


@stage.suspect(
    "g is ignored: the gradient of a multiple of the loss is the multiple of its gradient"
)
def mse_without_g(door, fault):
    if fault.data.get("line") != MSE or "gradient" not in fault.data:
        return False
    return close(gradient_of(door, MSE, X * 0), 2 * X / X.size)

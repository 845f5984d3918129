"""Stage 14, digits: all of it, on real images."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter

import numpy as np

from ...data import load_digits
from ..case import Plain
from ..compare import close
from ..stage import Fault, Stage

stage = Stage(
    number=14,
    name="digits",
    contract=("fit", "accuracy"),
    hints=(
        "Which images has the net never seen?",
        "One order for images and labels; for each batch clear the gradients, go back, take a "
        "step. Answers are looked at in evaluation, and then the mode is put back.",
        "`order = rng.permutation(n)`; for each batch of indices: zero_grad, cross_entropy, "
        "backward, step. Six lines; then `net(...).data.argmax(axis=1) == y`.",
    ),
    skeleton='''\
def fit(net, x, y, epochs, rng):
    """Train a net on images x, an array of numbers from 0 to 1, and labels y, integers."""
    ...  # stage 14: an optimizer, batches, steps; all chance comes from rng


def accuracy(net, x, y):
    """Return the share of right answers, in evaluation; afterwards the mode is as it was."""
    ...
''',
)

EPOCHS, TRAINED_ON = 30, 1200
IMAGES = "from microgrand.course.stages.s14_digits import digits\nx, y, unseen, right = digits()"
MADE = "net = Sequential(Linear(64, 32, rng={0}), ReLU(), Linear(32, 10, rng={0}))"


@functools.cache
def digits():
    """Return images from 0 to 1 and labels: those to learn from, and those to be asked."""
    images, labels = load_digits()
    x = np.asarray(images, dtype=float).reshape(len(images), -1)
    x = x / x.max()
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], np.asarray(labels)[order].astype(int)
    return x[:TRAINED_ON], y[:TRAINED_ON], x[TRAINED_ON:], y[TRAINED_ON:]


def trained_once(door):
    """Train a net, or return the one that was."""
    if not hasattr(door, "trained"):
        door.trained = trained(door, 12)
    door.case = door.trained.case
    return door.trained


def trained(door, seed, y=None, epochs=EPOCHS, images=TRAINED_ON):
    """Train a net; the case says how."""
    x, labels, _, _ = digits()
    run = door.start()
    run.case.lines = [
        IMAGES,
        MADE.format(seed),
        f"fit(net, x, y, epochs={epochs}, rng=np.random.default_rng({seed}))",
    ]
    if images != TRAINED_ON:
        run.case.lines.insert(2, f"x, y = x[:{images}], y[:{images}]")
    exec(MADE.format(seed), run.names)
    y = labels if y is None else y
    run.names.update(x=x[:images].copy(), y=y[:images].copy())
    exec(run.case.lines[-1], run.names)
    return run


def answers(door, net, x):
    """Return a net's answers, by the grader's own means; it has no layer with a mode."""
    output = door.value(net(door.tensor(x)), "net(x)")
    if output.shape != (len(x), 10):
        raise Fault(f"net(x) has shape {output.shape}", f"shape {(len(x), 10)}", "fit")
    return output.argmax(axis=1)


FIXED = "class Net(Module):\n    def __call__(self, x):\n        return x * 1.0\n\nnet = Net()"


@stage.property("accuracy(net, x, y) is the share of right answers", examples=5, seconds=60)
def share(door, draw):
    rng = np.random.default_rng(3)
    logits = rng.standard_normal((12, 4))
    labels = np.where(rng.random(12) < 0.5, logits.argmax(axis=1), rng.integers(0, 4, 12))
    run = door.start(x=Plain(logits), y=Plain(labels))(FIXED)
    found = run("found = accuracy(net, x, y)")["found"]
    expected = float(np.mean(logits.argmax(axis=1) == labels))
    number = door.as_array(found)
    if number is None and door.is_tensor(found):
        number = door.value(found)
    if number is None or number.shape != () or abs(float(number) - expected) > 1e-9:
        raise Fault(
            f"{found!r}"[:60],
            f"{expected:.6g}",
            "accuracy",
            share=True,
            number=None if number is None else float(np.ravel(number)[0]),
            logits=logits,
            labels=labels,
        )


@stage.property("accuracy evaluates, and leaves the mode as it was", examples=1, seconds=60)
def mode_stays(door, draw):
    run = door.start()(IMAGES)
    run("drop = Dropout(0.5, rng=1)", "net = Sequential(Linear(64, 10, rng=1), drop)")
    run("x, y = x[:200], y[:200]")
    run("net.train()", "a = accuracy(net, x, y)")
    if not run["drop"].training:
        raise Fault(
            "the net is in evaluation afterwards",
            "in training, as before",
            "accuracy",
            mode="stays",
        )
    run("b = accuracy(net, x, y)")
    if run["a"] != run["b"]:
        raise Fault("two calls differ", "the same share twice", "accuracy", mode="training")
    run("net.eval()", "c = accuracy(net, x, y)")
    if run["drop"].training:
        raise Fault(
            "the net is in training afterwards",
            "in evaluation, as before",
            "accuracy",
            mode="stays",
        )
    if run["c"] != run["a"]:
        raise Fault(
            "it differs in training and evaluation", "the same share", "accuracy", mode="training"
        )


@stage.property(
    "digits that the net has never seen: at least 93 % are read", points=3, examples=1, seconds=60
)
def reads_digits(door, draw):
    _, _, x, y = digits()
    found = float(np.mean(answers(door, trained_once(door)["net"], x) == y))
    if found < 0.93:
        raise Fault(f"{found:.1%} are right", "at least 93 %", "fit", accuracy=found)


@stage.property("the loss on the digits that it learns from falls", examples=1, seconds=60)
def loss_falls(door, draw):
    x, y, _, _ = digits()

    def loss(net):
        z = door.value(net(door.tensor(x)), "net(x)")
        z = z - z.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]))

    fresh = door.start()(MADE.format(12))["net"]
    before, after = loss(fresh), loss(trained_once(door)["net"])
    if not after < 0.7 * before:
        raise Fault(f"{after:.3g}, and {before:.3g} at first", "far less", "fit", falls=False)


@stage.property("where the labels are shuffled nothing can be learned", examples=1, seconds=60)
def nothing_leaks(door, draw):
    _, y, x, right = digits()
    shuffled = np.random.default_rng(5).permutation(y)
    net = trained(door, 11, shuffled, epochs=10)["net"]
    found = float(np.mean(answers(door, net, x) == right))
    if found > 0.3:
        raise Fault(
            f"{found:.1%} of unseen digits are right, though no label was",
            "about 10 %: the answers come from elsewhere",
            "fit",
            leak=True,
        )


@stage.property(
    "the same rng gives the same net, and x and y stay as they were", examples=1, seconds=60
)
def repeatable(door, draw):
    x, y, _, _ = digits()
    runs = [trained(door, 11, epochs=3, images=300) for _ in range(2)]
    first, second = (answers_of(door, run["net"]) for run in runs)
    if not close(first, second):  # the order of parameters is free, and so are sums over them
        raise Fault(
            "two nets of one seed differ",
            "the same net: all chance comes from rng",
            "fit",
            chance=True,
        )
    if not np.array_equal(runs[0]["x"], x[:300]) or not np.array_equal(runs[0]["y"], y[:300]):
        raise Fault("fit has changed x or y", "the arrays as they were", "fit", changed=True)


LOOKED_AT = """\
class Net(Module):
    def __init__(self):
        self.a, self.drop = Linear(3, 3, rng=1), Dropout(0.5, rng=1)

    def __call__(self, x):
        seen.append((x.data[:, 0].tolist(), self.drop.training))
        return self.a(x)
"""
#: How many images there are to look at: a prime above most batches, so that the last is smaller.
N = 211
FEW = [
    f"y = np.arange({N}) % 3",
    f"x = np.stack([np.arange({N}) / {N}, y * 0.0, y * 0.0 + 1], axis=1)",
]


def looked_at(door, seed, epochs=2):
    """Let fit train a net in evaluation; return what it saw: batches, and its mode."""
    run = door.start()("seen = []", *FEW, LOOKED_AT, "net = Net()", "net.eval()")
    run.case.shown.append("seen[:2]")
    run(f"fit(net, x, y, epochs={epochs}, rng=np.random.default_rng({seed}))")
    return run["seen"]


@stage.property("an epoch goes through all images, the last batch included", examples=1)
def all_images(door, draw):
    # At least: what looks at the loss between epochs sees them more often.
    seen = Counter(row for rows, training in looked_at(door, 1, 3) if training for row in rows)
    often = sum(count >= 3 for count in seen.values())
    if seen and often < N:
        raise Fault(
            f"{N - often} of {N} images are missing in some of 3 epochs",
            "all of them in each epoch",
            "fit",
            left_out=True,
        )


@stage.property("in each epoch the images come in another order", examples=1)
def other_order(door, draw):
    batches = [rows for rows, training in looked_at(door, 1, 3) if training]
    rows = [row for batch in batches if len(batch) < N for row in batch]  # all at once: no order
    n = len(rows) // 3
    if rows and rows == 3 * rows[:n]:
        raise Fault(
            "three epochs have the same batches",
            "another order in each, drawn from rng",
            "fit",
            order="none" if rows[:n] == sorted(rows[:n]) else "one",
        )


@stage.property("another rng gives another order of the images, if there is any", examples=1)
def order(door, draw):
    first, second = ([rows for rows, _ in looked_at(door, seed)] for seed in (1, 2))
    if first == second and any(rows != sorted(rows) for rows in first):
        raise Fault(
            "two rngs give the same order",
            "other ones: all chance comes from the rng that is given",
            "fit",
            chance=True,
        )


@stage.property("fit puts the net into training", examples=1)
def trains(door, draw):
    if not any(training for _, training in looked_at(door, 1)):
        raise Fault(
            "the net is in evaluation while it learns",
            "in training, whatever it was before",
            "fit",
            untrained=True,
        )


def answers_of(door, net):
    return door.value(net(door.tensor(digits()[0][:50])), "net(x)")


# ------------------------------------------------------------------------------- suspects


class Watched:
    """What a student's fit does, seen from its parts: optimizers, loss and net."""

    def __init__(self, door):
        self.steps = self.zeroed = 0
        self.images, self.labels = [], []
        run = door.start()
        watched = self
        names = vars(door.module)
        classes = [names[n] for n in ("SGD", "Adam") if n in names]
        with contextlib.ExitStack() as stack:
            for owner in classes:
                for method, counter in (("step", "steps"), ("zero_grad", "zeroed")):
                    stack.enter_context(counted(owner, method, self, counter))
            if "cross_entropy" in names:
                right = names["cross_entropy"]

                def loss(logits, labels, *more, **options):
                    watched.labels.append(np.array(labels))
                    return right(logits, labels, *more, **options)

                stack.callback(names.__setitem__, "cross_entropy", right)
                names["cross_entropy"] = loss
            run(
                "class Net(Module):\n"
                "    def __init__(self):\n        self.a = Linear(3, 3, rng=1)\n"
                "\n    def __call__(self, x):\n        seen(x)\n        return self.a(x)"
            )
            run.names["seen"] = lambda x: watched.images.append(door.value(x)[:, 0].copy())
            y = np.arange(40) % 3
            x = np.stack([y / 4.0 + 0.1, y * 0.0, y * 0.0 + 1], axis=1)
            run.names.update(x=x, y=y)
            exec("fit(Net(), x, y, epochs=2, rng=np.random.default_rng(1))", run.names)

    def mixed_up(self):
        """Tell whether labels stand beside images that are not theirs."""
        pairs = zip(self.images, self.labels, strict=False)
        return any(len(x) == len(y) and not np.allclose((x - 0.1) * 4, y) for x, y in pairs)


@contextlib.contextmanager
def counted(owner, method, watched, counter):
    right = getattr(owner, method)

    @functools.wraps(right)
    def wrapper(*args, **options):
        setattr(watched, counter, getattr(watched, counter) + 1)
        return right(*args, **options)

    own = method in vars(owner)
    setattr(owner, method, wrapper)
    try:
        yield
    finally:
        if own:
            setattr(owner, method, right)
        else:
            delattr(owner, method)


def is_about_learning(fault):
    return any(key in fault.data for key in ("accuracy", "falls"))


@stage.suspect(
    "gradients are not cleared between steps, and add up: call zero_grad before each backward"
)
def not_zeroed(door, fault):
    seen = Watched(door) if is_about_learning(fault) else None
    return seen is not None and seen.steps > 1 and seen.zeroed < seen.steps


@stage.suspect("images and labels are shuffled apart: take both in one order")
def shuffled_apart(door, fault):
    return is_about_learning(fault) and Watched(door).mixed_up()


@stage.suspect(
    "it learns, but too slowly: a larger learning rate, smaller batches or momentum will do"
)
def too_slow(door, fault):
    if not 0.5 < fault.data.get("accuracy", 0.0) < 0.93:
        return False
    seen = Watched(door)
    return 1 < seen.steps <= seen.zeroed and not seen.mixed_up() and not left_out(door)


def left_out(door):
    """Tell whether fit does not come to all images."""
    seen = {row for rows, _ in looked_at(door, 1) for row in rows}
    return 0 < len(seen) < N


@stage.suspect("not all images are learned from: an epoch goes through every batch, to the end")
def images_left_out(door, fault):
    return "left_out" in fault.data or (is_about_learning(fault) and left_out(door))


@stage.suspect("no step is taken: optimizer.step() after backward")
def no_step(door, fault):
    return is_about_learning(fault) and Watched(door).steps == 0


@stage.suspect(
    "the net is in evaluation while it learns, or the other way round: accuracy "
    "evaluates, and fit trains"
)
def wrong_mode(door, fault):
    return fault.data.get("mode") == "training"


@stage.suspect("accuracy leaves the net in another mode: put back the one that was there")
def mode_not_restored(door, fault):
    return fault.data.get("mode") == "stays"


@stage.suspect("argmax runs over the wrong axis: the classes are along axis 1")
def wrong_axis(door, fault):
    if "share" not in fault.data and FIXED not in fault.data.get("lines", ()):
        return False
    logits = np.random.default_rng(3).standard_normal((4, 4))
    labels = np.array([0, 1, 2, 2])
    run = door.start(x=Plain(logits), y=Plain(labels))(FIXED)
    found = float(run("found = accuracy(net, x, y)")["found"])
    said = [np.mean(logits.argmax(axis=0) == labels), np.mean(logits.argmax() == labels)]
    return found != np.mean(logits.argmax(axis=1) == labels) and found in said


@stage.suspect("it is the number of right answers, or a percentage: divide by how many there are")
def not_a_share(door, fault):
    number = fault.data.get("number")
    if "share" not in fault.data or number is None:
        return False
    right = float(np.mean(fault.data["logits"].argmax(axis=1) == fault.data["labels"]))
    return any(abs(number - right * k) < 1e-9 for k in (12, 100))


@stage.suspect("it is the share of wrong answers")
def wrong_answers(door, fault):
    number = fault.data.get("number")
    if "share" not in fault.data or number is None:
        return False
    right = float(np.mean(fault.data["logits"].argmax(axis=1) == fault.data["labels"]))
    return abs(number - (1 - right)) < 1e-9 and right != 0.5


@stage.suspect(
    "fit does not put the net into training: call net.train() first, as it may have been evaluated"
)
def not_in_training(door, fault):
    return "untrained" in fault.data


@stage.suspect("the order of the batches does not come from rng: shuffle with rng.permutation")
def other_generator(door, fault):
    return "chance" in fault.data


@stage.suspect("the images are not shuffled: draw an order from rng in each epoch")
def never_shuffled(door, fault):
    return fault.data.get("order") == "none"


@stage.suspect("the order is drawn once, before the first epoch: draw another one in each")
def shuffled_once(door, fault):
    return fault.data.get("order") == "one"


@stage.suspect(
    "a new net has no `training` yet, and it is read: give the class Module a default (stage 13)"
)
def no_mode_yet(door, fault):
    if fault.data.get("kind") != "AttributeError" or "'training'" not in fault.found:
        return False
    return not hasattr(door.start()(FIXED)["net"], "training")


@stage.suspect("x or y is shuffled in place: take rows by an order instead")
def in_place(door, fault):
    return "changed" in fault.data

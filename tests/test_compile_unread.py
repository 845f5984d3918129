"""`compile`: changes of attributes that the function cannot read mean nothing, all others do."""

import collections
import copy
import dataclasses
import functools
import json
import operator
import types

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile, no_grad, optim
from microgrand.nn import Linear
from microgrand.nn import functional as F

X = np.ones((4, 4), "f")
Y = np.array([0, 1, 0, 1])


class Trainer:
    def __init__(self):
        self.model = Linear(4, 2)
        self.opt = optim.Adam(self.model.parameters())
        self.sched = optim.lr_scheduler.StepLR(self.opt, 3)
        self.history, self.epoch, self.best_state = [], 0, None
        self.recent = collections.deque(maxlen=3)
        self.step, self.predict = compile(self._step), compile(self._predict)

    def _step(self, x, y):
        self.opt.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.opt.step()
        return loss

    @no_grad()
    def _predict(self, x):
        return self.model.eval()(x).data


def test_what_a_trainer_remembers_is_not_compared():
    trainer = Trainer()
    for _ in range(8):
        loss = trainer.step(X, Y)
        trainer.model.eval()
        trainer.predict(X)
        trainer.model.train()
        trainer.sched.step()
        trainer.history.append(loss.item())
        trainer.recent.append(loss.item())
        trainer.epoch += 1
        trainer.best_state = trainer.model.state_dict()
        setattr(trainer, f"epoch_{trainer.epoch}", loss)
    assert len(trainer.step.traces) == len(trainer.predict.traces) == 1
    assert trainer.step.recordings == trainer.predict.recordings == 2


def test_a_scheduler_that_is_not_read_still_sets_the_rate():
    weights = []
    for make in (lambda f: f, compile):
        trainer = Trainer()
        trainer.model.weight.data = np.ones((2, 4), "f")
        trainer.model.bias.data = np.zeros(2, "f")
        step = make(trainer._step)
        for _ in range(8):
            step(X, Y)
            trainer.sched.step()
        weights.append(trainer.model.weight.data)
    assert_same_bits(*weights)


def of_a_namespace():
    return types.SimpleNamespace(scale=1.0, epoch=0, losses=[])


@dataclasses.dataclass
class Settings:
    scale: float = 1.0
    epoch: int = 0
    losses: list = dataclasses.field(default_factory=list)


@pytest.mark.parametrize("make", [of_a_namespace, Settings])
def test_an_object_in_a_closure(make):
    settings = make()
    f = compile(lambda x: x * settings.scale)
    for _ in range(5):
        f(X)
        settings.epoch += 1
        settings.losses.append(1.0)
    assert len(f.traces) == 1
    assert f.recordings == 2


class Base:
    def inherited(self):
        return self.n


class Asked(Base):
    """An object with a number ``n``, which is asked for in many ways."""

    of_class = 7

    def __init__(self, n=1):
        self.n, self.key, self.inner = n, "n", types.SimpleNamespace(n=n)

    def helper(self):
        return self.n

    @property
    def by_property(self):
        return self.n

    @functools.cached_property
    def cached(self):
        return self.key

    def __getitem__(self, key):
        return getattr(self, key)

    @no_grad()
    def in_a_block(self):
        return of_object(self)

    def wrapped(*args):
        return vars(args[0])["-n".strip("-")]

    def me(self):
        return self

    def super_(self):
        return super().__getattribute__("-n".strip("-"))


class Forwarding:
    def __init__(self):
        self.inner = Asked()
        self.inner.m = 1

    def __getattr__(self, name):
        return getattr(self.inner, name.strip("_"))


def of_object(asked):
    return vars(asked)["-n".strip("-")]  # a name that is not in the code


def deep(asked):
    return of_object(copy.deepcopy(asked))


WAYS = {
    "directly": lambda a: lambda x: x * a.n,
    "by a helper": lambda a: lambda x: x * a.helper(),
    "by a property": lambda a: lambda x: x * a.by_property,
    "by a name that is not a constant": lambda a: lambda x: x * getattr(a, "-n".strip("-")),
    "by a name": lambda a: lambda x: x * getattr(a, "n"),  # noqa: B009
    "by an attrgetter": lambda a: lambda x: x * operator.attrgetter("-n".strip("-"))(a),
    "by an attrgetter outside": lambda a, get=operator.attrgetter("n"): lambda x: x * get(a),
    "by vars": lambda a: lambda x: x * vars(a)["-n".strip("-")],
    "by its dict": lambda a: lambda x: x * next(iter(a.__dict__.values())),
    "by a nested function": lambda a: lambda x: (lambda: x * a.n)(),
    "in a comprehension": lambda a: lambda x: sum([x * a.n for _ in range(2)]),
    "by an inherited method": lambda a: lambda x: x * a.inherited(),
    "by a global function": lambda a: lambda x: x * of_object(a),
    "by an item": lambda a: lambda x: x * a["-n".strip("-")],
    "in a block": lambda a: lambda x: x * a.in_a_block(),
    "by arguments": lambda a: lambda x: x * a.wrapped(),
    "by itself": lambda a: lambda x: x * of_object(a.me()),
    "by super": lambda a: lambda x: x * a.super_(),
    "by a copy": lambda a: lambda x: x * deep(a),
    "by its text": lambda a: (
        lambda x: x * json.loads(json.dumps(vars(a), default=str))["-n".strip("-")]
    ),
    "in a list": lambda a: (lambda all_: lambda x: x * of_object(all_[0]))([a]),
    "by a default": lambda a: lambda x, a=a: x * a.n,
    "by a partial": lambda a: functools.partial(lambda b, x: x * b.n, a),
    "by a bound method": lambda a: (lambda m: lambda x: x * m())(a.helper),
    "by another name": lambda a: lambda x: next(x * of_object(b) for b in (a,)),
    "by eval": lambda a: lambda x: x * eval("a.n", {"a": a}),
    "by a method's object": lambda a: lambda x: x * of_object(a.helper.__self__),
    "by its class": lambda a: lambda x: x * object.__getattribute__(a, "-n".strip("-")),
    "in a condition": lambda a: lambda x: x * of_object(a if a else None),
}


@pytest.mark.parametrize("way", WAYS)
def test_attributes_that_are_read_are_compared(way):
    asked = Asked()
    f = compile(WAYS[way](asked))
    for n in (1, 1, 1, 5, 5, 5, 2):
        asked.n = n
        assert_same_bits(f(X), WAYS[way](asked)(X))


HELD = Asked()


def test_code_in_a_text_reads_anything():
    f = compile(lambda x: x * eval("HELD.n") + HELD.of_class)
    for n in (1, 1, 1, 5):
        HELD.n = n
        assert_same_bits(f(X), X * n + 7)


def test_objects_in_objects():
    asked = Asked()
    ways = [
        lambda x: x * asked.inner.n,
        lambda x: x * of_object(asked.inner),
        lambda x: x * of_object(vars(asked)["-inner".strip("-")]),
        lambda x: x * repr(asked.inner).count("5"),
        lambda x: x * repr(vars(asked)).count("n=5"),
    ]
    for way in ways:
        f = compile(way)
        for n in (5, 5, 5, 3, 3, 3, 5):
            asked.inner.n = n
            assert_same_bits(f(X), way(X))


def test_names_that_a_class_forwards():
    outer = Forwarding()
    f = compile(lambda x: x * outer.n__)
    for n in (1, 1, 1, 5, 5):
        outer.inner.n = n
        assert_same_bits(f(X), X * n)


def test_an_attribute_that_hides_that_of_the_class():
    asked = Asked()
    f = compile(lambda x: x * asked.of_class)
    for _ in range(3):
        assert_same_bits(f(X), X * 7)
    del asked.key  # as many attributes as before
    asked.of_class = 3
    assert_same_bits(f(X), X * 3)


def test_changes_that_the_function_makes_are_noticed():
    asked = Asked()

    def f(x, name):
        setattr(asked, name + "n", asked.helper() + 1)
        return x

    def g(x):
        asked.key = asked.key + "1"
        return x

    with pytest.raises(TypeError, match=r"asked\.n"):
        [compiled(X, "") for compiled in [compile(f)] for _ in range(3)]
    with pytest.raises(TypeError, match=r"asked\.key"):
        [compiled(X) for compiled in [compile(g)] for _ in range(3)]


def test_an_instance_that_is_called():
    class Model:
        def __init__(self):
            self.scale, self.seen = 1, 0

        def __call__(self, x):
            return x * self.scale

    model = Model()
    f = compile(model)
    g = compile(lambda x: model(x))
    for scale in (1, 1, 1, 5, 5):
        model.scale = scale
        assert_same_bits(f(X), X * scale)
        assert_same_bits(g(X), X * scale)

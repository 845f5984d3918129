"""Dropout explained by its mistakes: from the ten lines in most articles to the library's module.

Read this page from top to bottom, and run it, cell by cell or as a whole: it is a program, and it
computes every number that it prints.

A net with a wrong dropout still learns. Nothing crashes, the loss goes down, and the accuracy is
only a percent or two lower than it could be. That is why these mistakes live long. We shall make
each of them, see what it does, and find the test that exposes it.
"""

import argparse
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # such small matrices gain nothing from threads

import numpy as np

from microgrand import Tensor, data, defvjp, manual_seed, nn, optim, primitive
from microgrand.testing import gradcheck

parser = argparse.ArgumentParser(
    description=(__doc__ or "").partition("\n")[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
parser.add_argument("--epochs", type=int, default=25, help="passes through the data in section 11")
parser.add_argument("--seeds", type=int, default=5, help="nets for each row of its table")
# In a notebook, the command line is that of its kernel.
options = parser.parse_args([] if hasattr(sys, "ps1") else None)
for option, value in vars(options).items():
    if value < 1:
        parser.error(f"--{option} is at least 1, got {value}")

# %% 1. What it is, in ten lines
#
# A net with many more weights than training examples memorises the examples. Its units come to
# depend on each other: one is a little wrong on a certain image, and another has learned to make up
# for exactly that. On a new image, such deals are worth nothing.
#
# Dropout spoils the deals. In every training step it removes each unit with probability p, so no
# unit can rely on any other being there. It has three parts:
#
#   - a mask, drawn afresh in each call: True where a unit is kept, with probability 1 - p;
#   - a scale: the kept units are divided by 1 - p, so the sum that a next unit receives is on
#     average the same as without dropout;
#   - a mode: in evaluation every unit is there, and dropout does nothing.
#
# (Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.)
#
# Most articles write it like this, in NumPy. It is right, or nearly: section 12 shows what is
# missing.


class Dropout:
    def __init__(self, p, rng):
        self.p, self.rng, self.training = p, rng, True

    def forward(self, x):
        if not self.training:
            return x
        self.mask = self.rng.random(x.shape) >= self.p
        return x * self.mask / (1 - self.p)

    def backward(self, g):
        return g * self.mask / (1 - self.p)


P = 0.3  # not 0.5, where dropping and keeping are equally likely
SEED = 21  # its first masks of eight units drop different ones, two each

layer = Dropout(P, np.random.default_rng(SEED))
units = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]])
print("1. Eight units of one example, before and after dropout with p = 0.3:\n")
print("   before", *(f"{value:6.2f}" for value in units[0]))
print("   after ", *(f"{value:6.2f}" for value in layer.forward(units)[0]))

# %% 2. Why the same units must be zeroed on the way back
#
# A gradient answers one question about each unit: if its value were a little larger, by how much
# would the loss grow? We can find out without any calculus: change the value, run the same thinned
# net again, and look at the loss.
#
# For a dropped unit the answer is 0. Its value was multiplied by 0; whatever the value was, the
# loss is the same. So its gradient must be 0.
#
# For a kept unit, the loss saw 1 / (1 - p) times its value. Changing the unit changes the loss
# 1 / (1 - p) times as much as without dropout, so its gradient has that factor, too.
#
# Hence `backward` is `forward` with the gradient in place of x: the same mask and the same scale.
# Not a similar mask: the same one.

cotangent = np.array([[1.0, -1.0, 2.0, -2.0, 1.0, -1.0, 2.0, -2.0]])  # d loss / d output


def loss(x):
    """Run the thinned net of the mask drawn above."""
    return np.sum(cotangent * x * layer.mask / (1 - P))


tried = np.zeros(8)
for i in range(8):
    step = np.zeros((1, 8))
    step[0, i] = 1e-3
    tried[i] = (loss(units + step) - loss(units - step)) / 2e-3
backward = layer.backward(cotangent)[0]

print("\n2. How the loss changes with each unit, by trial, and what backward says:\n")
print("   kept    ", *(f"{'yes' if kept else '-':>6}" for kept in layer.mask[0]))
print("   tried   ", *(f"{value + 0:6.2f}" for value in tried))
print("   backward", *(f"{value + 0:6.2f}" for value in backward))

# What does this mean for the weights? Some lead to a unit, others lead away from it. If the unit
# was dropped, none of them may learn from this example: they had no part in the answer, and deserve
# neither blame nor praise. The gradient of a weight is the value where it begins times the gradient
# where it ends. So it takes two zeros:
#
#   - the zero in forward stops the weights that lead away: their gradient is the unit's value,
#     which is 0, times something;
#   - the zero in backward stops the weights that lead to the unit: their gradient is something
#     times the unit's gradient, which is 0.
#
# If either zero is missing or in the wrong place, the unit is half there.


def weights_that_learn(layer):
    """Return for which units the weights to it, and away from it, have a gradient.

    The net has three inputs, eight units and one output, which is also the loss.
    """
    rng = np.random.default_rng(6)
    inputs, weight_in, weight_out = rng.uniform(1, 2, 3), rng.uniform(1, 2, (8, 3)), np.ones(8)
    hidden = layer.forward(weight_in @ inputs)
    g = 1.0  # d loss / d output, for output = weight_out @ hidden
    gradient_out = g * hidden
    gradient_in = np.outer(layer.backward(g * weight_out), inputs)
    return (gradient_in != 0).all(axis=1), gradient_out != 0


def print_weights_that_learn(layer):
    to, away = weights_that_learn(layer)
    print("   weights to the unit learn  ", *(f"{'yes' if learn else '-':>5}" for learn in to))
    print("   weights away from it learn ", *(f"{'yes' if learn else '-':>5}" for learn in away))


print("\n   Which weights learn in a net of eight units:\n")
print_weights_that_learn(Dropout(P, np.random.default_rng(SEED)))

# %% 3. Two kinds of tests
#
# What we have just done by hand is a gradient check. `gradcheck` does it for every element, and
# says where the two disagree, and why, if it can find out.
#
# There is one trap. Every evaluation of the function must use the same mask; with a new one each
# time, the differences compare two different nets and mean nothing. So we hold the mask still, here
# by seeding the generator again before every call.


def as_primitive(layer):
    """Make a function of tensors of a layer with forward and backward."""
    function = primitive(lambda x: layer.forward(x))
    defvjp(function, lambda g, out, x: layer.backward(g))
    return function


def held_still(layer):
    """Make a function that draws the same mask in every call."""
    function = as_primitive(layer)

    def forward(x):
        layer.rng = np.random.default_rng(1)
        return function(x)

    return forward


def complaint(function, x):
    """Return what gradcheck finds wrong with a function; "" if nothing."""
    try:
        gradcheck(function, x)
    except AssertionError as error:
        return str(error)
    return ""


BATCH = np.random.default_rng(0).uniform(1, 2, (4, 6))
not_held = complaint(as_primitive(Dropout(P, np.random.default_rng(1))), BATCH)
held = complaint(held_still(Dropout(P, None)), BATCH)
print("\n3. A gradient check of the ten lines, with a new mask each time:\n")
print("   " + not_held.partition(": ")[0])
print("\n   and with the mask held still:", held or "no complaint")

# A gradient check compares forward with backward. It cannot see a mistake that is in both. That
# takes statistics: what is random must be random in the right way. Four numbers will do, each with
# a bound of five standard deviations; a correct layer exceeds one once in 1.7 million times.

N = 100_000


def statistics(make):
    """Return four numbers of a layer, each with its expected value and how far off it may be."""
    layer = make(P, np.random.default_rng(2))
    dropped = np.mean(layer.forward(np.ones((1, N))) == 0)
    mean = np.mean(layer.forward(np.ones((1, N))))
    one, other = layer.forward(np.ones((2, N))) != 0
    alike = np.cov(one, other)[0, 1] / (P * (1 - P))  # over the variance that each should have
    layer.training = False
    change = np.abs(layer.forward(np.ones((1, N))) - 1).max()
    return {
        "share of dropped units": (dropped, P, 5 * np.sqrt(P * (1 - P) / N)),
        "mean output for an input of 1": (mean, 1, 5 * np.sqrt(P / (1 - P) / N)),
        "correlation of two examples' masks": (alike, 0, 5 / np.sqrt(N)),
        "change in evaluation mode": (change, 0, 0),
    }


versions = {}
board = {}  # whether each version passes each test


def report(title, make):
    """Run all tests on a version of dropout, and print what they find."""
    found = complaint(held_still(make(P, None)), BATCH)
    versions[title] = make
    results = board[title] = {"gradient check": not found}
    if found:
        print(f"   {title}: the gradient check fails:", *found.splitlines()[:3], sep="\n      ")
    for name, (value, expected, bound) in statistics(make).items():
        results[name] = abs(value - expected) <= bound
        if not results[name]:
            print(f"   {title}: {name} is {value:.3f}, expected {expected}")
    passed = sum(results.values())
    all_pass = passed == len(results)
    print(
        f"   {title}: all {passed} tests pass" if all_pass else f"   The other {passed} tests pass."
    )


print()
report("ten lines", Dropout)

# %% 4. Mistake: a mask of the wrong shape
#
# The mask must have the shape of x, one element for each unit of each example. With x.shape[1:]
# there is one mask for the whole batch, and NumPy broadcasts it without a word. All examples of a
# step then run the same thinned net. Forward and backward agree on that, so the gradient check has
# no complaint; the share of dropped units is right, and so is the mean. Only two examples side by
# side show it: their masks should be independent, and are the same.


class OneMaskForTheBatch(Dropout):
    def forward(self, x):
        if not self.training:
            return x
        self.mask = self.rng.random(x.shape[1:]) >= self.p
        return x * self.mask / (1 - self.p)


print("\n4. A mask of the wrong shape:\n")
report("one mask for the batch", OneMaskForTheBatch)

# A net written out line by line has arrays to confuse, and the mask may get the shape of another
# one. If that is the layer before, of the same width, nothing is wrong until somebody changes the
# width. Then you are lucky if NumPy refuses to multiply. You are not if an axis has length 1, as in
# the labels, a column of one per example: then each example loses all its units or none. One draw
# decides about 100,000 units here, so their share and mean are far off.


class MaskOfTheLabels(Dropout):
    def forward(self, x):
        if not self.training:
            return x
        labels_shape = (len(x), 1)
        self.mask = self.rng.random(labels_shape) >= self.p
        return x * self.mask / (1 - self.p)


print()
report("mask of the labels' shape", MaskOfTheLabels)

# (Sharing a mask on purpose can be a good idea: over the pixels of a channel, or over the steps of
# a sequence. Then it is called Dropout2d, or variational dropout.)

# %% 5. Mistake: another mask on the way back, or none
#
# This is what section 2 is about. If backward leaves the mask out, the scale is right, and so are
# all statistics, which look at forward only. But the weights that lead to a dropped unit learn. A
# published library does this: the Dropout of numpy-ml (github.com/ddbourgin/numpy-ml, commit
# 79366877) scales the gradient and passes it on unmasked.


class NoMaskInBackward(Dropout):
    def backward(self, g):
        return g / (1 - self.p)


print("\n5. The mask left out in backward:\n")
report("no mask in backward", NoMaskInBackward)
print()
print_weights_that_learn(NoMaskInBackward(P, np.random.default_rng(SEED)))

# Or backward draws a mask of its own, with the right shape, the right share of zeros and the right
# scale. All statistics are perfect again, and the wrong units learn.


class RedrawnInBackward(Dropout):
    def backward(self, g):
        mask = self.rng.random(g.shape) >= self.p
        return g * mask / (1 - self.p)


print("\n   The mask redrawn in backward:\n")
report("redrawn in backward", RedrawnInBackward)
print()
print_weights_that_learn(RedrawnInBackward(P, np.random.default_rng(SEED)))

# Who gets what? Without a mask, the share p of the units, all that were dropped, gets a gradient
# meant for a net in which they were present. With a new mask it is p (1 - p), and as many had a
# part in the answer and are told nothing; only (1 - p)^2 are kept both times. The angle to the
# right gradient tells how much is left of the direction in which the loss falls fastest: its cosine
# is about sqrt(1 - p) without a mask and 1 - p with a new one, whatever the net. At p = 0.5, a new
# mask makes it 60°, and half of all gradients come from the wrong net.


def astray(layer):
    """Return the share of units told nothing, of those blamed, and the cosine of the angle."""
    g = np.random.default_rng(5).standard_normal((1, N))
    layer.forward(np.ones((1, N)))
    right, wrong = Dropout.backward(layer, g), layer.backward(g)
    cosine = np.sum(right * wrong) / np.sqrt(np.sum(right**2) * np.sum(wrong**2))
    return np.mean((right != 0) & (wrong == 0)), np.mean((right == 0) & (wrong != 0)), cosine


print("\n                         kept, told nothing   dropped, blamed   angle to the right one")
strays = {}
for title, make in (("no mask", NoMaskInBackward), ("redrawn", RedrawnInBackward)):
    strays[title] = untold, blamed, cosine = astray(make(P, np.random.default_rng(3)))
    angle = np.degrees(np.arccos(cosine))
    print(f"   {title:20} {untold:17.1%} {blamed:17.1%} {angle:21.0f}°")

# %% 6. Mistake: the result not used
#
# Written out line by line, dropout stands between two matrix products, and does nothing unless the
# second one is given its result:
#
#     hidden = np.maximum(weights_1 @ x, 0)
#     dropped = hidden * mask / (1 - p)
#     output = weights_2 @ hidden                # should be weights_2 @ dropped
#
# Published snippets do this. The mask is drawn, and has no effect. The gradient is right, the mean
# is right, and the loss goes down, just as it does without dropout. Only the share of zeros shows
# it, if you count them in what the next layer receives, not in the mask.


class ResultNotUsed(Dropout):
    def forward(self, x):
        super().forward(x)
        return x

    def backward(self, g):
        return g


print("\n6. The result not used:\n")
report("result not used", ResultNotUsed)
print()
print_weights_that_learn(ResultNotUsed(P, np.random.default_rng(SEED)))

# In other snippets the second product has the result, and the wrong partner: x instead of its own
# weights. NumPy refuses to multiply them, but not if the batch happens to have as many examples as
# an example has numbers. Then a net runs whose second layer has no weights. Forward and backward
# agree on that, too; what shows it is that weights_2 gets no gradient.


def wrong_operand(weights_1, weights_2, x, mask):
    hidden = np.maximum(weights_1 @ x, 0)
    dropped = hidden * mask / (1 - P)
    return dropped @ x  # should be weights_2 @ dropped


print("\n   The wrong operand, for x of 4 numbers per example:\n")
outcomes = {}
for examples in (3, 4):
    rng = np.random.default_rng(4)
    weights_1, weights_2 = (
        Tensor(rng.uniform(1, 2, shape), requires_grad=True) for shape in ((8, 4), (2, 8))
    )
    x, mask = rng.uniform(1, 2, (4, examples)), rng.random((8, examples)) >= P
    try:
        np.sum(wrong_operand(weights_1, weights_2, x, mask)).backward()
        learn = ("none" if weights.grad is None else "one" for weights in (weights_1, weights_2))
        outcomes[examples] = "gradients: {} for weights_1, {} for weights_2".format(*learn)
    except ValueError:
        outcomes[examples] = "NumPy refuses to multiply"
    print(f"   {examples} examples: {outcomes[examples]}")

# %% 7. Mistake: the scale forgotten
#
# Without the division by 1 - p, a next unit receives 70 % of what it will receive when all units
# are there. It is trained on one and used with the other. Forward and backward agree, so the
# gradient check passes; the mean gives it away.
#
# If only backward forgets it, all statistics pass, and the gradient check fails.


class NoScaleInBackward(Dropout):
    def backward(self, g):
        return g * self.mask


class NoScale(NoScaleInBackward):
    def forward(self, x):
        if not self.training:
            return x
        self.mask = self.rng.random(x.shape) >= self.p
        return x * self.mask


print("\n7. The scale forgotten:\n")
report("no scale", NoScale)
print()
report("no scale in backward", NoScaleInBackward)

# (The original paper scales nothing in training, and multiplies by 1 - p in evaluation instead.
# That is right, too: nn.Dropout(p, scaling="classic"). Doing neither is wrong.)

# %% 8. Mistake: evaluation mode forgotten
#
# Dropout is for training. If a layer ignores its mode, or a program never calls eval(), units are
# still dropped when the net is used: the same image gets a different answer each time, and every
# answer comes from a thinned net. No test that stays in training mode can notice.


class IgnoresTheMode(Dropout):
    def forward(self, x):
        self.training = True
        return super().forward(x)


print("\n8. Evaluation mode forgotten:\n")
report("ignores the mode", IgnoresTheMode)

# %% 9. Mistake: the probability of keeping mistaken for that of dropping
#
# In the paper, p is the probability that a unit is kept, as it was in TensorFlow's first version.
# In PyTorch, in Keras and here it is the probability that it is dropped. Many examples use 0.5,
# where it makes no difference, and then somebody changes it to 0.2. The layer itself is perfect,
# gradient and mean and all; it just drops 70 % where 30 % were meant.


class KeepsWithProbabilityP(Dropout):
    def __init__(self, p, rng):
        super().__init__(1 - p, rng)


print("\n9. The probability of keeping mistaken for that of dropping:\n")
report("keeps with probability p", KeepsWithProbabilityP)

# %% 10. No single test finds them all
#
# Here are all versions with all tests. Each test finds a mistake that no other sees. The gradient
# check, for all its power, is blind to six of the nine: forward and backward are wrong together.

print("\n10. Which test finds which mistake:\n")
short = ("gradient", "share", "mean", "two rows", "evaluation")
print(" " * 28 + "".join(f"{name:>12}" for name in short))
for title, results in board.items():
    marks = ("pass" if right else "FAIL" for right in results.values())
    print(f"   {title:25}" + "".join(f"{mark:>12}" for mark in marks))

# %% 11. Why they live so long
#
# Put each version into a net of two hidden layers that learns digits from 300 images. These are the
# accuracy and the loss on the other images, averaged over five seeds. All of them learn: with only
# your own wrong version and no table, you would not know. The result not used is, to the last
# digit, no dropout. (The scale missing in backward costs nothing here, because Adam divides a
# gradient by its size. That is luck, not a reason.)


class Layer(nn.Module):
    """A layer of this page as a module of the library."""

    def __init__(self, layer):
        self.layer = layer
        self.function = as_primitive(layer)

    def forward(self, x):
        self.layer.training = self.training
        return self.function(x)


def train(make, seed):
    """Train a net with such a layer after each hidden layer; return test accuracy and loss."""
    manual_seed(seed)
    images, labels = data.load_digits()
    train_set, test_set = data.train_test_split(
        images.reshape(-1, 64), labels, train_size=300, rng=seed
    )
    rng = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), Layer(make(P, rng)),
        nn.Linear(128, 128), nn.ReLU(), Layer(make(P, rng)),
        nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = optim.Adam(net.parameters(), lr=0.003)
    for epoch in range(options.epochs):
        for x, y in data.batches(*train_set, batch_size=30, rng=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    logits = net.eval()(test_set[0])
    accuracy = np.mean(logits.argmax(axis=1) == test_set[1])
    return accuracy, nn.functional.cross_entropy(logits, test_set[1]).item()


versions = {"without dropout": lambda p, rng: Dropout(0.0, rng), **versions}
costs = {}
print("\n11. What they cost, on digits, p = 0.3:\n")
print("                              test accuracy   test loss")
for title, make in versions.items():
    costs[title] = np.mean([train(make, seed) for seed in range(options.seeds)], axis=0)
    print(f"   {title:25} {costs[title][0]:14.1%} {costs[title][1]:11.3f}")

# %% 12. What the ten lines still get wrong
#
# They pass all five tests, and have two mistakes left.
#
# The mask belongs to the layer. If the layer is called twice before backward, as in a recurrent
# net or to compare two inputs, the second mask overwrites the first, and the first call goes back
# through the wrong units: the mistake of section 5 through another door. The mask must belong to
# the call.
#
# And a dropped unit is not zero: it is x times zero. If x is inf or nan, the product is nan, and
# the unit that should not be there spoils the whole net.


class CalledTwice(Dropout):
    """The loss sees two calls; backward has to go back through both."""

    def forward(self, x):
        return super().forward(x) + 10 * super().forward(x)

    def backward(self, g):
        return super().backward(g) + 10 * super().backward(g)


twice = complaint(held_still(CalledTwice(P, None)), BATCH)
with np.errstate(invalid="ignore"):
    infinite = Dropout(P, np.random.default_rng(SEED)).forward(np.full(8, np.inf))
print("\n12. The ten lines called twice before backward:\n")
print("   " + "\n   ".join(twice.splitlines()[:3]))
print("\n   and eight units whose values were inf:", *infinite)

# %% 13. The library's module
#
# nn.Dropout keeps the mask in the graph, with the call that drew it, and puts exact zeros where
# it is False. Here it gets the interface of the ten lines and takes the same five tests; then it is
# called twice, and given an inf. To check the gradient of any net with dropout in training, write
# `DropoutMasks().hold(net)`: it uses the masks of the first evaluation in all the others.


class FromTheLibrary(nn.Dropout):
    def __init__(self, p, rng):
        super().__init__(p, rng=rng)

    def forward(self, x):
        self.x = Tensor(x, requires_grad=True)
        self.out = super().forward(self.x)
        return self.out.data

    def backward(self, g):
        self.out.backward(g)
        return self.x.grad


print("\n13. The library's module:\n")
report("nn.Dropout", FromTheLibrary)

dropout = nn.Dropout(P)
called_twice = nn.DropoutMasks().hold(lambda x: dropout(x) + 10 * dropout(x))
found = complaint(called_twice, BATCH)
finite = nn.Dropout(P, rng=np.random.default_rng(2))(np.full(8, np.inf)).data
print(f"   called twice before backward: {found or 'no complaint'}")
print("   eight units whose values were inf:", *finite)

# %% What to take along
#
#   - Use the same mask forward and backward: a unit that was not there has no part in the loss.
#   - The mask belongs to the call, has the shape of x, and is drawn afresh each time.
#   - Scale by 1 / (1 - p) in training, both ways, and do nothing in evaluation.
#   - Give the result, not the input, to the next layer.
#   - Check the gradient with the mask held still, and the statistics as well: neither is enough.
#
# From here: mlp_dropout.py in this folder shows what dropout is good for. In microgrand/nn/dropout,
# masks.py zeroes units exactly, and layers.py has the relatives of dropout, for whole channels,
# branches, words, weights.

print("""
Use the same mask forward and backward, one for each call, of the shape of x; scale in training,
do nothing in evaluation. Check the gradient with the mask held still, and check the statistics.""")

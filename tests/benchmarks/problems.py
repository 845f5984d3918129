"""What all contenders are given, and how they hand back what they made of it.

Every contender is its own process and makes these arrays itself; the seed makes them equal.
"""

from itertools import pairwise

import numpy as np

LEARNING_RATE = 0.1
#: Factor and summand of the chain x = x * FACTOR, x = x + SUMMAND, ...: its values stay near 1.
FACTOR, SUMMAND = 0.999, 0.001
#: Where the pendulum begins: angle and speed.
START = (1.0, 0.5)


def network(widths, batch):
    """Give inputs, labels and, for each layer, weight ``(out, in)`` and bias, in float32."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, widths[0])).astype(np.float32)
    labels = rng.integers(0, widths[-1], batch)
    layers = []
    for fan_in, fan_out in pairwise(widths):
        bound = 1 / np.sqrt(fan_in)
        weight = rng.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32)
        bias = rng.uniform(-bound, bound, fan_out).astype(np.float32)
        layers.append((weight, bias))
    return x, labels, layers


def slope(x, v, sin):
    """Return the derivatives of a damped pendulum's angle and speed."""
    return v, -sin(x) - 0.1 * v


def solution(x, v, steps, sin=np.sin, cos=np.cos, h=0.01):
    """Solve by Runge and Kutta's method of order 4, and return the energy at the end."""
    for _ in range(steps):
        a1, b1 = slope(x, v, sin)
        a2, b2 = slope(x + h / 2 * a1, v + h / 2 * b1, sin)
        a3, b3 = slope(x + h / 2 * a2, v + h / 2 * b2, sin)
        a4, b4 = slope(x + h * a3, v + h * b3, sin)
        x = x + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
        v = v + h / 6 * (b1 + 2 * b2 + 2 * b3 + b4)
    return v * v / 2 - cos(x)


def training_results(loss, gradients, before, after):
    """Name what a training step computed: loss, gradients, and how the parameters changed."""
    results = {"loss": np.asarray(loss)}
    for i, gradient in enumerate(gradients):
        results[f"gradient {i}"] = np.asarray(gradient)
        results[f"change {i}"] = np.asarray(after[i]) - np.asarray(before[i])
    return results

"""microgrand with `compile`: the same tasks, their steps run as programs."""

import contender_microgrand
import numpy as np
from contender_microgrand import Adam, Dropout
from worker import serve

import microgrand
from microgrand import compile, grad


class Training(contender_microgrand.Training):
    """A training step as everybody writes it, compiled."""

    def __init__(self, widths, batch, p=0.5):
        super().__init__(widths, batch, p)
        self.step = compile(super().step)


class CompiledAdam(Adam):
    """Adam's step alone, compiled."""

    def __init__(self, widths):
        super().__init__(widths)
        self.step = compile(super().step)


class CompiledDropout(Dropout):
    """Dropout alone, compiled."""

    def __init__(self, size, p=0.5):
        super().__init__(size, p)
        self.step = compile(super().step)


class RungeKutta:
    """The gradient of an ODE's solution, by small operations on two numbers."""

    def __init__(self, steps):
        self.start = np.array([1.0, 0.5])
        self.gradient = compile(grad(lambda y: solution(y[0], y[1], steps)))

    def step(self):
        return self.gradient(self.start)

    def results(self):
        return {"gradient": self.step()}


def slope(x, v):
    """Return the derivatives of a damped pendulum's angle and speed."""
    return v, -np.sin(x) - 0.1 * v


def solution(x, v, steps, h=0.01):
    """Solve by Runge and Kutta's method of order 4; return the energy at the end."""
    for _ in range(steps):
        a1, b1 = slope(x, v)
        a2, b2 = slope(x + h / 2 * a1, v + h / 2 * b1)
        a3, b3 = slope(x + h / 2 * a2, v + h / 2 * b2)
        a4, b4 = slope(x + h * a3, v + h * b3)
        x = x + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
        v = v + h / 6 * (b1 + 2 * b2 + 2 * b3 + b4)
    return v * v / 2 - np.cos(x)


if __name__ == "__main__":
    serve(
        microgrand.__version__,
        {
            "training": Training,
            "adam": CompiledAdam,
            "dropout": CompiledDropout,
            "runge-kutta": RungeKutta,
        },
    )

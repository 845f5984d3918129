"""Tangent: it writes the source of a function's gradient, in NumPy, before anything runs."""

import importlib.metadata

import numpy as np
from problems import LEARNING_RATE, START, network, training_results
from worker import serve


def loss_of(x, one_hot, mask_1, mask_2, w_1, b_1, w_2, b_2, w_3, b_3):
    """Tangent's subset of Python: a net of three layers, written out."""
    h_1 = np.dot(x, np.transpose(w_1)) + b_1
    h_1 = h_1 * (h_1 > 0) * mask_1  # its rule for np.maximum computes in float64
    h_2 = np.dot(h_1, np.transpose(w_2)) + b_2
    h_2 = h_2 * (h_2 > 0) * mask_2
    logits = np.dot(h_2, np.transpose(w_3)) + b_3
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_sums = np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return np.sum((log_sums - shifted) * one_hot)


class Training:
    """Tangent differentiates; everything else is NumPy."""

    def __init__(self, widths, batch, p=0.5):
        self.x, labels, layers = network(widths, batch)
        self.parameters = [parameter for layer in layers for parameter in layer]
        # The mean's division stands here, in float32.
        self.one_hot = (labels[:, None] == np.arange(widths[-1])) / np.float32(batch)
        self.shapes = [(batch, width) for width in widths[1:-1]]
        self.p = p
        self.rng = np.random.default_rng(0)
        self.gradient = tangent.grad(loss_of, wrt=tuple(range(4, 10)), preserve_result=True)

    def mask(self, shape):
        keep = self.rng.random(shape, dtype=np.float32) >= self.p
        return keep * np.float32(1 / (1 - self.p))

    def step(self):
        masks = [self.mask(shape) for shape in self.shapes]
        *gradients, loss = self.gradient(self.x, self.one_hot, *masks, *self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter -= LEARNING_RATE * gradient
        return loss, gradients

    def results(self):
        before = [parameter.copy() for parameter in self.parameters]
        loss, gradients = self.step()
        return training_results(loss, gradients, before, self.parameters)


def energy_of(x, v, steps):
    """Solve the pendulum's equation as `problems.solution` does, written out."""
    h = 0.01
    for _ in range(steps):
        a_1 = v
        b_1 = -np.sin(x) - 0.1 * v
        a_2 = v + h / 2 * b_1
        b_2 = -np.sin(x + h / 2 * a_1) - 0.1 * a_2
        a_3 = v + h / 2 * b_2
        b_3 = -np.sin(x + h / 2 * a_2) - 0.1 * a_3
        a_4 = v + h * b_3
        b_4 = -np.sin(x + h * a_3) - 0.1 * a_4
        x = x + h / 6 * (a_1 + 2 * a_2 + 2 * a_3 + a_4)
        v = v + h / 6 * (b_1 + 2 * b_2 + 2 * b_3 + b_4)
    return v * v / 2 - np.cos(x)


class RungeKutta:
    """The gradient of an ODE's solution, by small operations on two numbers."""

    def __init__(self, steps):
        self.steps = steps
        self.gradient = tangent.grad(energy_of, wrt=(0, 1), preserve_result=True)

    def step(self):
        return self.gradient(*map(np.float64, START), self.steps)

    def results(self):
        *gradient, energy = self.step()
        return {"energy": np.asarray(energy), "gradient": np.array(gradient)}


if __name__ == "__main__":
    import tangent  # not above: pytest imports this file when it looks for doctests

    version = importlib.metadata.version("tangent-ad")
    serve(version, {"training": Training, "runge-kutta": RungeKutta})

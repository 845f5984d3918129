"""Autograd (HIPS): gradients of functions written with its copy of NumPy's namespace."""

import importlib.metadata

import numpy as np
from problems import FACTOR, LEARNING_RATE, SUMMAND, network, training_results
from worker import serve


class Training:
    """Autograd differentiates; everything else is NumPy."""

    def __init__(self, widths, batch, p=0.5):
        self.x, self.labels, layers = network(widths, batch)
        self.parameters = [parameter for layer in layers for parameter in layer]
        self.rows = np.arange(batch)
        self.p = p
        self.rng = np.random.default_rng(0)

    def loss_of(self, parameters):
        h = self.x
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            h = anp.maximum(anp.dot(h, weight.T) + bias, 0)
            keep = self.rng.random(h.shape, dtype=np.float32) >= self.p
            h = h * (keep * np.float32(1 / (1 - self.p)))
        logits = anp.dot(h, parameters[-2].T) + parameters[-1]
        shifted = logits - anp.max(logits, axis=1, keepdims=True)
        log_sums = anp.log(anp.sum(anp.exp(shifted), axis=1))
        return anp.mean(log_sums - shifted[self.rows, self.labels])

    def graph(self):
        return make_vjp(self.loss_of, self.parameters)

    def step(self):
        loss, gradients = value_and_grad(self.loss_of)(self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter -= LEARNING_RATE * gradient
        return loss, gradients

    def results(self):
        before = [parameter.copy() for parameter in self.parameters]
        loss, gradients = self.step()
        return training_results(loss, gradients, before, self.parameters)


class Chain:
    """A chain of small operations, forward and backward."""

    def __init__(self, length, shape):
        self.x = np.ones(shape, np.float32)
        self.length = length

    def value_of(self, x):
        for _ in range(self.length // 2):
            x = x * FACTOR
            x = x + SUMMAND
        return anp.sum(x)

    def graph(self):
        return make_vjp(self.value_of, self.x)

    def step(self):
        return value_and_grad(self.value_of)(self.x)

    def results(self):
        loss, gradient = self.step()
        return {"loss": loss, "gradient": gradient}


if __name__ == "__main__":
    # Not above: pytest imports this file when it looks for doctests.
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.core import make_vjp

    serve(importlib.metadata.version("autograd"), {"training": Training, "chain": Chain})

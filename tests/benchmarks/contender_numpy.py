"""Hand-written NumPy: the training loop as one writes it without a framework."""

import numpy as np
from problems import (
    FACTOR,
    LEARNING_RATE,
    START,
    SUMMAND,
    network,
    solution,
    training_results,
)
from worker import serve


class Training:
    """Forward, backward by hand, and gradient descent."""

    def __init__(self, widths, batch, p=0.5):
        self.x, self.labels, self.layers = network(widths, batch)
        self.p = p
        self.rng = np.random.default_rng(0)

    def forward(self):
        """Return the loss, every layer's input, every hidden unit's factor, and softmax."""
        inputs, factors = [self.x], []
        for weight, bias in self.layers[:-1]:
            z = inputs[-1] @ weight.T + bias
            keep = self.rng.random(z.shape, dtype=np.float32) >= self.p
            factor = (z > 0) * keep * np.float32(1 / (1 - self.p))
            inputs.append(z * factor)
            factors.append(factor)
        weight, bias = self.layers[-1]
        logits = inputs[-1] @ weight.T + bias
        shifted = logits - logits.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)
        rows = np.arange(len(logits))
        loss = np.mean(np.log(sums[:, 0]) - shifted[rows, self.labels])
        return loss, inputs, factors, exponentials / sums

    def backward(self, inputs, factors, softmax):
        """Return the gradients of all weights and biases, and each layer's cotangent."""
        g = softmax.copy()
        g[np.arange(len(g)), self.labels] -= 1
        g /= len(g)
        gradients, cotangents = [], []
        for i in reversed(range(len(self.layers))):
            cotangents.insert(0, g)
            gradients.insert(0, (g.T @ inputs[i], g.sum(axis=0)))
            if i > 0:
                g = g @ self.layers[i][0] * factors[i - 1]
        return gradients, cotangents

    def step(self):
        loss, *saved = self.forward()
        gradients, _ = self.backward(*saved)
        for parameters, grads in zip(self.layers, gradients, strict=True):
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter -= LEARNING_RATE * grad
        return loss, gradients

    def results(self):
        before = [parameter.copy() for layer in self.layers for parameter in layer]
        loss, gradients = self.step()
        flat = [gradient for pair in gradients for gradient in pair]
        return training_results(loss, flat, before, [p for layer in self.layers for p in layer])


class Products(Training):
    """Only the matrix products of a training step, which no one can do without."""

    def __init__(self, widths, batch, p=0.5):
        super().__init__(widths, batch, p)
        _, self.inputs, *saved = self.forward()
        _, self.cotangents = self.backward(self.inputs, *saved)

    def step(self):
        products = []
        for i, (weight, _) in enumerate(self.layers):
            self.inputs[i] @ weight.T
            products.append(self.cotangents[i].T @ self.inputs[i])
            if i > 0:
                self.cotangents[i] @ weight
        return products

    def results(self):
        gradients = {f"gradient {2 * i}": product for i, product in enumerate(self.step())}
        return {"partly": True} | gradients


class Inference:
    """The chain of small operations, without any graph."""

    def __init__(self, length, shape):
        self.x = np.ones(shape, np.float32)
        self.length = length

    def step(self):
        x = self.x
        for _ in range(self.length // 2):
            x = x * FACTOR
            x = x + SUMMAND
        return x

    def results(self):
        return {"value": self.step()}


class RungeKutta:
    """The solution of an ODE alone, without its gradient."""

    def __init__(self, steps):
        self.steps = steps

    def step(self):
        return solution(*np.array(START), self.steps)

    def results(self):
        return {"partly": True, "energy": self.step()}


class Prediction:
    """The network's logits in evaluation mode."""

    def __init__(self, widths, batch):
        self.x, _, self.layers = network(widths, batch)

    def step(self):
        out = self.x
        for weight, bias in self.layers[:-1]:
            out = np.maximum(out @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        return out @ weight.T + bias

    def results(self):
        return {"logits": self.step()}


if __name__ == "__main__":
    serve(
        np.__version__,
        {
            "training": Training,
            "training products": Products,
            "inference": Inference,
            "prediction": Prediction,
            "runge-kutta": RungeKutta,
        },
    )

"""MyGrad, without its memory guard, as its documentation advises where speed matters."""

import numpy as np
from problems import FACTOR, LEARNING_RATE, SUMMAND, network, training_results
from worker import serve


class Training:
    """MyGrad has layers' functions, but neither dropout nor optimizers: these are NumPy."""

    def __init__(self, widths, batch, p=0.5):
        self.x, self.labels, layers = network(widths, batch)
        self.layers = [tuple(map(mygrad.tensor, layer)) for layer in layers]
        self.parameters = [parameter for layer in self.layers for parameter in layer]
        self.p = p
        self.rng = np.random.default_rng(0)

    def graph(self):
        h = self.x
        for weight, bias in self.layers[:-1]:
            h = relu(h @ weight.T + bias)
            keep = self.rng.random(h.shape, dtype=np.float32) >= self.p
            h = h * (keep * np.float32(1 / (1 - self.p)))
        weight, bias = self.layers[-1]
        return softmax_crossentropy(h @ weight.T + bias, self.labels)

    def step(self):
        loss = self.graph()
        for parameter in self.parameters:
            parameter.null_grad()
        loss.backward()
        for parameter in self.parameters:
            parameter.data -= LEARNING_RATE * parameter.grad
        return loss

    def results(self):
        before = [parameter.data.copy() for parameter in self.parameters]
        loss = self.step().data
        gradients = [parameter.grad for parameter in self.parameters]
        return training_results(loss, gradients, before, [p.data for p in self.parameters])


class Chain:
    """A chain of small operations, forward and backward."""

    def __init__(self, length, shape):
        self.x = mygrad.tensor(np.ones(shape, np.float32))
        self.length = length

    def graph(self):
        x = self.x
        # To MyGrad, a Python float is a float64 array.
        factor, summand = np.float32(FACTOR), np.float32(SUMMAND)
        for _ in range(self.length // 2):
            x = x * factor
            x = x + summand
        return x.sum()

    def step(self):
        self.x.null_grad()
        loss = self.graph()
        loss.backward()
        return loss

    def results(self):
        return {"loss": self.step().data, "gradient": self.x.grad}


if __name__ == "__main__":
    import mygrad  # not above: pytest imports this file when it looks for doctests
    from mygrad.nnet.activations import relu
    from mygrad.nnet.losses import softmax_crossentropy

    mygrad.turn_memory_guarding_off()
    serve(mygrad.__version__, {"training": Training, "chain": Chain})

"""microgrand, written as its README says."""

import functools

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

import microgrand
from microgrand import Tensor, nn, no_grad, optim, value_and_grad


def make_net(layers, p):
    """Make Linear, ReLU, Dropout, ..., Linear from the given weights and biases."""
    modules = []
    for weight, bias in layers:
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        modules += [linear, nn.ReLU(), nn.Dropout(p)]
    return nn.Sequential(*modules[:-2])


class Training:
    """A training step as everybody writes it."""

    def __init__(self, widths, batch, p=0.5):
        self.x, self.labels, layers = network(widths, batch)
        self.net = make_net(layers, p)
        self.loss_of = nn.CrossEntropyLoss()
        self.optimizer = optim.SGD(self.net.parameters(), lr=LEARNING_RATE)

    def graph(self):
        return self.loss_of(self.net(self.x), self.labels)

    def step(self):
        loss = self.graph()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def results(self):
        before = [parameter.data.copy() for parameter in self.net.parameters()]
        loss = self.step().detach().numpy()
        gradients = [parameter.grad for parameter in self.net.parameters()]
        return training_results(loss, gradients, before, [p.data for p in self.net.parameters()])


class Dropout:
    """Dropout alone, forward and backward."""

    def __init__(self, size, p=0.5):
        self.x = Tensor(np.ones(size, np.float32), requires_grad=True)
        self.cotangent = np.ones(size, np.float32)
        self.dropout = nn.Dropout(p)

    def step(self):
        self.x.grad = None
        out = self.dropout(self.x)
        out.backward(self.cotangent)
        return out

    def results(self):
        out = self.step().detach().numpy()
        return {"values": np.unique(out), "gradient minus output": self.x.grad - out}

    def mask_bytes(self):
        self.step()
        return self.dropout.mask.nbytes / self.x.size


class Adam:
    """Adam's step alone, on a network's parameters with fixed gradients."""

    def __init__(self, widths):
        _, _, layers = network(widths, 1)
        self.parameters = [Tensor(p, requires_grad=True) for layer in layers for p in layer]
        for parameter in self.parameters:
            parameter.grad = parameter.data.copy()
        self.optimizer = optim.Adam(self.parameters)

    def step(self):
        self.optimizer.step()

    def results(self):
        before = [parameter.data.copy() for parameter in self.parameters]
        for _ in range(3):
            self.step()
        return {
            f"change {i}": parameter.data - before[i] for i, parameter in enumerate(self.parameters)
        }


class Chain:
    """A chain of small operations, forward and backward."""

    def __init__(self, length, shape):
        self.x = Tensor(np.ones(shape, np.float32), requires_grad=True)
        self.length = length

    def graph(self):
        x = self.x
        for _ in range(self.length // 2):
            x = x * FACTOR
            x = x + SUMMAND
        return x.sum()

    def step(self):
        self.x.grad = None
        loss = self.graph()
        loss.backward()
        return loss

    def results(self):
        return {"loss": self.step().detach().numpy(), "gradient": self.x.grad}


class Inference(Chain):
    """The same chain under `no_grad`."""

    def step(self):
        x = self.x
        with no_grad():
            for _ in range(self.length // 2):
                x = x * FACTOR
                x = x + SUMMAND
        return x

    def results(self):
        return {"value": self.step().numpy()}


class RungeKutta:
    """The gradient of an ODE's solution, by small operations on two numbers."""

    def __init__(self, steps):
        self.start = np.array(START)
        self.step = functools.partial(self.gradient(steps), self.start)

    def gradient(self, steps):
        return value_and_grad(lambda y: solution(y[0], y[1], steps))

    def results(self):
        energy, gradient = self.step()
        return {"energy": energy, "gradient": gradient}


class Prediction:
    """The network's logits in evaluation mode."""

    def __init__(self, widths, batch):
        self.x, _, layers = network(widths, batch)
        self.net = make_net(layers, p=0.5).eval()

    def step(self):
        with no_grad():
            return self.net(self.x)

    def results(self):
        return {"logits": self.step().numpy()}


if __name__ == "__main__":
    serve(
        microgrand.__version__,
        {
            "training": Training,
            "dropout": Dropout,
            "adam": Adam,
            "chain": Chain,
            "inference": Inference,
            "prediction": Prediction,
            "runge-kutta": RungeKutta,
        },
    )

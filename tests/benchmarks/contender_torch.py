"""PyTorch, eager."""

import os

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
    """A training step as everybody writes it."""

    def __init__(self, widths, batch, p=0.5):
        x, labels, layers = network(widths, batch)
        self.x, self.labels = torch.from_numpy(x), torch.from_numpy(labels)
        modules = []
        for weight, bias in layers:
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict(
                {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
            )
            modules += [linear, torch.nn.ReLU(), torch.nn.Dropout(p)]
        self.net = torch.nn.Sequential(*modules[:-2])
        self.loss_of = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=LEARNING_RATE)

    def graph(self):
        return self.loss_of(self.net(self.x), self.labels)

    def step(self):
        loss = self.graph()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def results(self):
        before = [parameter.detach().clone() for parameter in self.net.parameters()]
        loss = self.step().detach()
        gradients = [parameter.grad for parameter in self.net.parameters()]
        after = [parameter.detach() for parameter in self.net.parameters()]
        return training_results(loss, gradients, before, after)


class Dropout:
    """Dropout alone, forward and backward."""

    def __init__(self, size, p=0.5):
        self.x = torch.ones(size, requires_grad=True)
        self.cotangent = torch.ones(size)
        self.dropout = torch.nn.Dropout(p)

    def step(self):
        self.x.grad = None
        out = self.dropout(self.x)
        out.backward(self.cotangent)
        return out

    def results(self):
        out = self.step().detach()
        return {"values": out.unique().numpy(), "gradient minus output": self.x.grad - out}

    def mask_bytes(self):
        saved = []

        def pack(tensor):
            saved.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self.step()
        return sum(saved) / self.x.numel()


class Adam:
    """Adam's step alone, on a network's parameters with fixed gradients."""

    def __init__(self, widths, **implementation):
        _, _, layers = network(widths, 1)
        arrays = [parameter for layer in layers for parameter in layer]
        self.parameters = [torch.from_numpy(array).requires_grad_() for array in arrays]
        for parameter in self.parameters:
            parameter.grad = parameter.detach().clone()
        self.optimizer = torch.optim.Adam(self.parameters, **implementation)

    def step(self):
        self.optimizer.step()

    def results(self):
        before = [parameter.detach().clone() for parameter in self.parameters]
        for _ in range(3):
            self.step()
        return {
            f"change {i}": (parameter.detach() - before[i]).numpy()
            for i, parameter in enumerate(self.parameters)
        }


def foreach_adam(widths):
    """Adam that does each of its operations on all parameters in one call."""
    return Adam(widths, foreach=True)


def fused_adam(widths):
    """Adam in a single kernel."""
    return Adam(widths, fused=True)


class Chain:
    """A chain of small operations, forward and backward."""

    def __init__(self, length, shape):
        self.x = torch.ones(shape, requires_grad=True)
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
        return {"loss": self.step().detach(), "gradient": self.x.grad}


class RungeKutta:
    """The gradient of an ODE's solution, by small operations on two numbers."""

    def __init__(self, steps):
        self.start = torch.tensor(START, dtype=torch.float64, requires_grad=True)
        self.steps = steps

    def step(self):
        self.start.grad = None
        energy = solution(*self.start, self.steps, torch.sin, torch.cos)
        energy.backward()
        return energy

    def results(self):
        return {"energy": self.step().detach(), "gradient": self.start.grad}


if __name__ == "__main__":
    import torch  # not above: pytest imports this file when it looks for doctests

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    serve(
        torch.__version__,
        {
            "training": Training,
            "dropout": Dropout,
            "adam": Adam,
            "adam foreach": foreach_adam,
            "adam fused": fused_adam,
            "chain": Chain,
            "runge-kutta": RungeKutta,
        },
    )

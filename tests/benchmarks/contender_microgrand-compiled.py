"""microgrand with `compile`: the same tasks, their steps run as programs."""

import contender_microgrand as eager
from worker import serve

import microgrand
from microgrand import compile


class Training(eager.Training):
    """A training step as everybody writes it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.step = compile(self.step)


class Dropout(eager.Dropout):
    """Dropout alone, forward and backward."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.step = compile(self.forward_and_backward)

    def forward_and_backward(self):
        return super().step().detach()


class Adam(eager.Adam):
    """Adam's step alone."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.step = compile(self.step)


class RungeKutta(eager.RungeKutta):
    """The gradient of an ODE's solution."""

    def gradient(self, steps):
        return compile(super().gradient(steps))


if __name__ == "__main__":
    serve(
        microgrand.__version__,
        {"training": Training, "dropout": Dropout, "adam": Adam, "runge-kutta": RungeKutta},
    )

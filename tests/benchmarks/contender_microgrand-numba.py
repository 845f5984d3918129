"""microgrand with `compile(..., backend="numba")`: training, and the gradient of an ODE."""

import functools
import importlib.metadata

import contender_microgrand as eager
from worker import serve

import microgrand

compile = functools.partial(microgrand.compile, backend="numba")


class Training(eager.Training):
    """A training step as everybody writes it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.step = compile(self.step)


class RungeKutta(eager.RungeKutta):
    """The gradient of an ODE's solution."""

    def gradient(self, steps):
        return compile(super().gradient(steps))


if __name__ == "__main__":
    version = f"{microgrand.__version__}, Numba {importlib.metadata.version('numba')}"
    serve(version, {"training": Training, "runge-kutta": RungeKutta})

"""JAX, with the whole training step compiled by ``jax.jit``."""

import os

import numpy as np
from problems import LEARNING_RATE, network, training_results
from worker import serve


class Training:
    """One compiled function from parameters to parameters."""

    def __init__(self, widths, batch, p=0.5):
        x, labels, layers = network(widths, batch)
        self.x, self.labels = jax.numpy.asarray(x), jax.numpy.asarray(labels)
        self.parameters = jax.tree.map(jax.numpy.asarray, layers)
        self.key = jax.random.key(0)

        def loss_of(parameters, key, x, labels):
            h = x
            for weight, bias in parameters[:-1]:
                h = jax.nn.relu(h @ weight.T + bias)
                key, subkey = jax.random.split(key)
                keep = jax.random.bernoulli(subkey, 1.0 - p, h.shape)
                h = jax.numpy.where(keep, h / (1 - p), 0)
            weight, bias = parameters[-1]
            log_softmax = jax.nn.log_softmax(h @ weight.T + bias)
            return -log_softmax[jax.numpy.arange(batch), labels].mean()

        def update(parameters, key, x, labels):
            key, subkey = jax.random.split(key)
            loss, gradients = jax.value_and_grad(loss_of)(parameters, subkey, x, labels)
            parameters = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradients)
            return parameters, key, loss  # or XLA would leave the loss out, which others compute

        self.loss_of = loss_of
        # Donated arrays are updated in place.
        self.update = jax.jit(update, donate_argnums=(0, 1))

    def step(self):
        arguments = self.parameters, self.key, self.x, self.labels
        self.parameters, self.key, loss = self.update(*arguments)
        return loss

    def wait(self):
        jax.block_until_ready(self.parameters)

    def results(self):
        loss, gradients = jax.value_and_grad(self.loss_of)(
            self.parameters, self.key, self.x, self.labels
        )
        before = [np.array(array) for array in jax.tree.leaves(self.parameters)]
        self.step()
        after = jax.tree.leaves(self.parameters)
        return training_results(loss, jax.tree.leaves(gradients), before, after)


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    threads = int(os.environ["OMP_NUM_THREADS"])
    if threads < os.cpu_count():
        # XLA obeys no variable: with --xla_cpu_multi_thread_eigen=false it still used two cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import jax  # not above: pytest imports this file when it looks for doctests

    serve(jax.__version__, {"training": Training})

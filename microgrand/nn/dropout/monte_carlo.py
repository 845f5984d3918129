"""Monte Carlo dropout: the predictions of individual thinned nets, and how much they disagree.

A net with dropout is an ensemble: each mask thins it to a different net, and all of them share
weights. Evaluation mode runs the whole net once, which approximates the mean prediction of the
thinned nets. `mc_dropout` runs a sample of the thinned nets themselves,

    y_s = net(x; mask_s),    s = 1, ..., S,

and returns the mean of the y_s, which estimates that mean without the approximation, and their
standard deviation, which measures how sure the ensemble is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...checks import is_integer
from ...dispatch import data_of
from ...grad_mode import no_grad
from ...kinds import Array, ArrayLike, Mask, Shape, Value
from ...random import generator
from ...traced import to_array
from .. import checks
from .layers import DropoutBase
from .masks import MaskSource, source
from .replay import Pass


class Samples(NamedTuple):
    """What `mc_dropout` returns: three arrays."""

    #: The mean of the samples, of the output's shape.
    mean: Array
    #: Their standard deviation, of the output's shape.
    std: Array
    #: The samples themselves, of shape ``(samples, *output.shape)``.
    samples: Array


def mc_dropout(
    model: Callable[[ArrayLike], Value],
    x: ArrayLike,
    samples: int,
    *,
    rng: int | np.random.Generator | None = None,
) -> Samples:
    """Run a model `samples` times with dropout on, each time with other masks.

    Dropout is on for these calls only. The model stays in its mode, for other threads as well, and
    its other layers behave as in that mode. Nothing is recorded for gradients.

    Parameters
    ----------
    model
        A module, or a function that calls modules, from one array or tensor to another.
    x
        The input.
    samples
        How many samples to draw, at least 1.
    rng
        A seed or a generator that draws all masks, also those of modules with a generator of
        their own, which stays as it was. The library's generator by default.

    Returns
    -------
    Samples
        With the fields ``mean``, ``std`` (the squares are divided by the number of samples)
        and ``samples``. Mean and deviation are computed in float64 at least, and have the dtype
        of the output, or float64 if that is an integer.

    Raises
    ------
    ValueError
        If the model calls no dropout, or draws fewer masks in a later sample than in the first,
        as it does if it holds them (`DropoutMasks.hold`), or `samples` is less than 1.
    TypeError
        If `samples` is not an integer, or the model does not return one array or tensor.
    RuntimeError
        In a block of `DropoutMasks`, which would neither supply nor record a mask.

    Notes
    -----
    Parameters, modes and generators of the model are as before; only ``mask`` of its modules
    shows the latest masks, as always.

    References
    ----------
    Gal, Ghahramani, "Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep
    Learning", ICML 2016. Srivastava et al. (see `Dropout`), section 7.5.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))
    >>> result = nn.mc_dropout(net.eval(), np.ones((10, 4)), samples=50, rng=0)
    >>> result.mean.shape, result.std.shape, result.samples.shape
    ((10, 3), (10, 3), (50, 10, 3))
    >>> again = nn.mc_dropout(net, np.ones((10, 4)), samples=50, rng=0)
    >>> np.array_equal(result.samples, again.samples)
    True
    """
    samples = checks.integer("mc_dropout's samples", samples, 1)
    checks.check_not_held(isinstance(source.get(), Pass))
    rng = np.random.default_rng(rng) if is_integer(rng) else generator(rng)  # type: ignore[arg-type]
    sampler = Sampler(rng)
    outputs = []
    drawn = []
    for _ in range(samples):
        outputs.append(sampler.run(model, x))
        drawn.append(sampler.calls)
        checks.check_drew_masks(drawn)
    stacked = np.stack(outputs)
    # Squares of float16 soon overflow, and sums of float32 lose digits.
    wide = np.result_type(stacked.dtype, np.float64)
    mean, std = stacked.mean(axis=0, dtype=wide), stacked.std(axis=0, dtype=wide)
    if stacked.dtype.kind in "fc":
        mean, std = mean.astype(stacked.dtype), std.astype(stacked.real.dtype)
    return Samples(mean, std, stacked)


class Sampler(MaskSource):
    """Runs a model with dropout on, and draws its masks."""

    drops_in_evaluation = True

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.calls = 0  # how many masks the latest run has drawn

    def run(self, model: Callable[[ArrayLike], Value], x: ArrayLike) -> Array:
        """Return the output of one thinned net."""
        self.calls = 0
        self.outer = source.get()
        token = source.set(self)
        try:
            with no_grad():
                out = data_of(model(x))
        finally:
            source.reset(token)
        checks.check_one_output(out)
        return to_array(out)

    def next_mask(self, layer: DropoutBase, shape: Shape) -> Mask:
        """Draw a mask, and count it."""
        self.calls += 1
        return self.outer.draw_mask(layer, shape, self.rng)

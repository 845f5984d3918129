"""Monte-Carlo dropout: what the thinned nets say one by one, and how far they disagree.

A net with dropout is an ensemble: each mask thins it to another net, and all of them share their
weights. Evaluation mode runs the whole net once, which approximates the mean of what the thinned
nets say. `mc_dropout` runs a sample of the thinned nets themselves,

    y_s = net(x; mask_s),    s = 1, ..., S,

and returns the mean of the y_s, which estimates that mean without the approximation, and their
standard deviation, which tells how sure the ensemble is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine import no_grad
from ..masks import read_only
from ..random import generator
from ..tensor import Tensor, unwrap
from .dropout_masks import Draw, MaskSource, Pass, mask_source

Array = NDArray[Any]

#: How many samples are computed alone, to be compared with what they are among others.
ALONE = 3


class Samples(NamedTuple):
    """What `mc_dropout` returns: three arrays."""

    #: The mean of the samples, of the output's shape.
    mean: Array
    #: Their standard deviation, of the output's shape.
    std: Array
    #: The samples themselves, of shape ``(samples, *output.shape)``.
    samples: Array


def mc_dropout(
    model: Callable[[Any], Any],
    x: Any,
    samples: int,
    *,
    rng: int | np.random.Generator | None = None,
    max_bytes: int = 2**20,
) -> Samples:
    """Run a model `samples` times with dropout on, each time with other masks.

    Dropout is on for these calls only: the model stays in the mode it is in, for other threads as
    well, and its other layers behave as in that mode. Nothing is recorded for gradients.

    Parameters
    ----------
    model
        A module, or a function that calls modules, from one array or tensor to another.
    x
        The input, a batch along its first axis.
    samples
        How many samples to draw, at least 1.
    rng
        A seed or a generator that draws all masks, also those of modules that have a generator
        of their own: what the modules draw in training later is what it would have been. The
        library's generator by default.
    max_bytes
        Several samples are computed at once, with the batch repeated along its first axis, as
        long as neither the input, nor the output, nor what a mask is applied to gets larger than
        this; the default is about the size of a processor's cache, beyond which it no longer
        pays. With 1, each sample is computed alone, which is right for every model (see Notes).

    Returns
    -------
    Samples
        With the fields ``mean``, ``std`` (of the samples as they are: divided by their number)
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
        In a block of `DropoutMasks`, which would neither give nor get a mask.

    Notes
    -----
    Parameters, modes and generators of the model are as before; only ``mask`` of its modules
    shows the latest masks, as always.

    Repeating the batch is right only if the model treats each example on its own, with masks of
    its own. Two things tell. A mask that does not grow with the batch is shared by all examples,
    as those of `DropConnect` and `WordDropout` are. And three samples are computed twice, alone
    and as the first, the middle and the last of many: each must come out the same. If either
    fails, the samples are computed one by one. So they are if the model cannot run on a larger
    batch at all. The second is a check of samples, not a proof: a model that mixes its examples
    so rarely that three samples do not show it goes unnoticed. If your model mixes examples (a
    norm, a maximum or a mean over the batch), ``max_bytes=1`` is the certain way.

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
    for what, number in ("samples", samples), ("max_bytes", max_bytes):
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise TypeError(f"mc_dropout's {what} is an integer, got {number!r}")
        if number < 1:
            raise ValueError(f"mc_dropout's {what} is at least 1, got {number}")
    seed: Any = rng
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        seed = np.random.default_rng(seed)
    if isinstance(mask_source.get(), Pass):
        raise RuntimeError(
            "mc_dropout draws masks of its own for every sample, and was called in a block of "
            "DropoutMasks, which has no say in them and would stay empty; call it outside"
        )
    ensemble = Ensemble(model, x, generator(seed))
    parts = [ensemble.run(1)]
    if not ensemble.masks:
        raise ValueError(
            "mc_dropout's model called no dropout, so all samples would be the same; it sees the "
            "layers of microgrand.nn and the functions of microgrand.nn.functional"
        )
    together = min(samples, ensemble.fitting(max_bytes))
    if together > ALONE:
        masks = [ensemble.masks]
        while len(parts) < ALONE:
            parts.append(ensemble.run(1))
            masks.append(ensemble.masks)
        many = ensemble.try_together(together, np.concatenate(parts), masks)
        if many is None:
            together = 1
        else:
            parts = [many]  # with those that were computed alone among them
    else:
        together = 1
    drawn = sum(len(part) for part in parts)
    while drawn < samples:
        parts.append(ensemble.run(min(together, samples - drawn)))
        drawn += len(parts[-1])
    stacked = np.concatenate(parts)
    # Squares of float16 are soon beyond its range, and sums of float32 lose digits.
    wide = np.result_type(stacked.dtype, np.float64)
    mean, std = stacked.mean(axis=0, dtype=wide), stacked.std(axis=0, dtype=wide)
    if stacked.dtype.kind in "fc":
        mean, std = mean.astype(stacked.dtype), std.astype(stacked.real.dtype)
    return Samples(mean, std, stacked)


class Ensemble(MaskSource):
    """Runs thinned nets, several at once, and draws their masks."""

    drops_always = True

    def __init__(self, model: Callable[[Any], Any], x: Any, rng: np.random.Generator) -> None:
        self.model = model
        self.rng = rng
        self.as_tensor = isinstance(x, Tensor)
        self.batch = np.asarray(unwrap(x))
        self.first: Any = None  # the output of the first sample, which is computed alone,
        self.shapes: list[tuple[int, ...]] = []  # and the shapes of its masks
        self.masks: list[Any] = []  # the masks of the latest sample that was computed alone
        self.copies = 1  # how many samples are being computed at once,
        self.known: list[list[Any]] = []  # the masks of those among them that are computed again,
        self.calls = 0  # and how many masks have been drawn

    def run(self, copies: int, known: list[list[Any]] | None = None) -> Array:
        """Compute so many samples at once; an array of shape ``(copies, *output.shape)``."""
        self.copies, self.known, self.calls = copies, known or [], 0
        if copies == 1:
            self.masks = []
        batch = self.batch if copies == 1 else np.concatenate([self.batch] * copies)
        token = mask_source.set(self)
        try:
            with no_grad():
                out = unwrap(self.model(Tensor(batch) if self.as_tensor else batch))
        finally:
            mask_source.reset(token)
        if not hasattr(out, "shape"):
            raise TypeError(
                f"mc_dropout's model returns one array or tensor, got {type(out).__name__}; wrap "
                "it in a function that returns one, lambda x: model(x)[0]"
            )
        if self.first is None:
            self.first = out
            self.shapes = [mask.shape for mask in self.masks]
        if self.calls < len(self.shapes):
            raise ValueError(
                f"mc_dropout's model drew {len(self.shapes)} masks in the first sample and "
                f"{self.calls} in a later one, so that the samples would vary less than the "
                "thinned nets do; let it draw all its masks in each call, without "
                "DropoutMasks.hold"
            )
        return np.reshape(out, (copies, *self.first.shape))

    def draw(self, shape: tuple[int, ...], draw: Draw, rng: Any, training: bool, owner: Any) -> Any:
        """Draw a mask, for all the samples that are being computed."""
        i = self.calls
        self.calls += 1
        if self.copies == 1:
            mask = draw(shape, self.rng)
            self.masks.append(mask)
            return mask
        if i >= len(self.shapes):
            raise ValueError(
                f"mc_dropout's model drew {len(self.shapes)} masks in the first sample and more in "
                "a later one; with max_bytes=1, where each sample is computed alone, it may"
            )
        alone = self.shapes[i]
        grown = [axis for axis, n in enumerate(alone) if shape[axis] != n]
        if len(grown) != 1 or shape[grown[0]] != self.copies * alone[grown[0]]:
            raise ValueError("a mask does not grow with the batch")
        mask = draw(shape, self.rng)
        if self.known:
            (axis,) = grown
            mask = mask.copy()  # of which the next line takes a view
            by_sample = mask.reshape(*shape[:axis], self.copies, *alone[axis:])
            for place, masks in zip(self.places(), self.known, strict=True):
                by_sample[(slice(None),) * axis + (place,)] = masks[i]
            mask = read_only(mask)
        return mask

    def places(self) -> tuple[int, int, int]:
        """Return where, among many, those samples are that are computed again."""
        return 0, self.copies // 2, self.copies - 1

    def fitting(self, max_bytes: int) -> int:
        """Return how many samples may be computed at once, at least one."""
        units = max(math.prod(shape) for shape in self.shapes)
        largest = max(self.batch.nbytes, self.first.nbytes, units * self.first.itemsize, 1)
        return max(1, max_bytes // int(largest))

    def try_together(self, copies: int, alone: Array, masks: list[list[Any]]) -> Array | None:
        """Compute some samples again among others; return all, if those are as they were alone."""
        try:
            many = self.run(copies, masks)
        except Exception:  # alone it went well, so what is wrong is the number
            return None
        again = many[list(self.places())]
        if alone.dtype.kind != "f":
            return many if np.array_equal(again, alone) else None
        rounding = float(np.finfo(alone.dtype).eps) ** 0.5
        for this, before in zip(again, alone, strict=True):
            largest = np.max(np.abs(before), initial=0, where=np.isfinite(before))
            if not np.allclose(this, before, rounding, rounding * largest, equal_nan=True):
                return None
        return many

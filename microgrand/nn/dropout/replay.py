"""Replayed masks: `DropoutMasks` holds those of one pass, for use in others.

A net with dropout in training is a random function: each call of a dropout layer draws a mask,
so no two passes run the same thinned net. To look at one thinned net more than once (to check its
gradient, to show it in a lesson, to compare two nets under one mask) its masks must stay the same.
`DropoutMasks` records the masks of one pass, and replays them, in the order of the calls, in every
later pass: inside its block it is the source that masks.py asks for masks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kinds import ArrayLike, Mask, Shape
from .. import checks
from .masks import MaskSource, read_only, source

if TYPE_CHECKING:
    from .layers import DropoutBase


class DropoutMasks:
    """The masks of one pass through a net, to be used again in others.

    The first ``with masks:`` block records the masks it draws, one for each call of dropout, in the
    order of the calls: a module called twice has two. Every later block replays them, and raises
    rather than draw new ones. It covers all kinds of dropout, modules and functions, for the
    current thread or asyncio task only.

    Parameters
    ----------
    masks
        Masks to be used from the first pass on, in the order of the calls: boolean arrays, True
        where a unit is kept (for `GaussianDropout`, its noise), of the shapes that would be drawn.

    Raises
    ------
    TypeError
        If `masks` is not an iterable of boolean or float arrays.
    RuntimeError
        In a block, if the pass does not fit the masks: if it calls dropout more often or less often
        than there are masks, with another shape, or the same modules in another order.

    Notes
    -----
    Blocks may be nested; the innermost counts. If it records, it takes its masks from the block
    around it, if there is one: a recurrent layer may hold one mask over its time steps while a
    gradient check holds the whole net's.

    Layers in evaluation mode need no masks.

    Do not ``yield`` inside the block: code that runs in between would consume its masks. Blocks
    that do not end in reverse order raise RuntimeError.

    Only masks are replayed: if a module's `p` changes between two passes, the second uses the mask
    drawn with the old `p`, and scales by the new one.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> net = nn.Sequential(nn.Dropout(0.5, rng=np.random.default_rng(1)), nn.Dropout(0.5))
    >>> masks = nn.DropoutMasks()
    >>> with masks:
    ...     first = net(np.ones(8))
    >>> with masks:
    ...     second = net(np.ones(8))
    >>> np.array_equal(first.data, second.data)
    True
    >>> len(masks), masks[0].astype(int)
    (2, array([0, 0, 1, 1, 0, 0, 1, 0]))

    A gradient check evaluates a function many times. `hold` makes each call a pass:

    >>> from microgrand.testing import gradcheck
    >>> gradcheck(nn.DropoutMasks().hold(net), np.linspace(1, 2, 8), order=2)
    True

    You can also choose the masks:

    >>> with nn.DropoutMasks([np.array([True, False])]):
    ...     nn.Dropout(0.5)([1.0, 1.0])
    Tensor([2., 0.])
    """

    def __init__(self, masks: Iterable[ArrayLike] | None = None) -> None:
        self.masks: list[Mask] | None = None
        self.owners: list[
            DropoutBase | None
        ] = []  # the modules whose masks these are, to notice a mix-up
        if masks is not None:
            checks.check_several_masks(masks)
            self.masks = [read_only(np.array(mask)) for mask in masks]
            for i, mask in enumerate(self.masks):
                checks.check_given_mask(i, mask)
            self.owners = [None] * len(self.masks)

    def __enter__(self) -> DropoutMasks:
        source.set(Pass(self, source.get()))
        return self

    def __exit__(self, exception: Any, *details: Any) -> None:
        block = source.get()
        if isinstance(block, Pass) and block.store is self:
            source.set(block.outer)
            if exception is None:
                block.finish()
            return
        while isinstance(block, Pass):  # remove this one from among the others
            if isinstance(block.outer, Pass) and block.outer.store is self:
                block.outer = block.outer.outer
                break
            block = block.outer
        checks.refuse_order_of_blocks()

    def hold(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls `function` inside ``with self:``, with the same masks.

        Raises TypeError if `function` cannot be called.
        """
        checks.check_can_be_held(function)
        return functools.partial(self.run, function)  # copies, and modules, look into it

    def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function inside ``with self:``."""
        with self:
            return function(*args, **kwargs)

    def __len__(self) -> int:
        return len(self.masks or ())

    def __getitem__(self, i: int) -> Mask:
        return (self.masks or [])[i]

    def __iter__(self) -> Iterator[Mask]:
        return iter(self.masks or ())

    def __repr__(self) -> str:
        if self.masks is None:
            return "DropoutMasks(), to be drawn in the first pass"
        if not self.masks:
            return "DropoutMasks([]), for passes without dropout"
        return f"DropoutMasks() of shapes {', '.join(str(mask.shape) for mask in self.masks)}"


class Pass(MaskSource):
    """One pass through a net, inside a block: it records its masks in a store, or replays them."""

    def __init__(self, store: DropoutMasks, outer: MaskSource) -> None:
        self.store = store
        self.outer = outer
        self.records = store.masks is None
        self.masks = list(store.masks or ())
        self.owners = list(store.owners)
        self.calls = 0
        self.drops_in_evaluation = outer.drops_in_evaluation

    def next_mask(self, layer: DropoutBase, shape: Shape) -> Mask:
        """Return the next mask; raise if the pass does not fit the masks."""
        i = self.calls
        self.calls += 1
        if not self.records:
            checks.check_replayed_mask(self, i, layer, shape)
            return self.masks[i]
        mask = self.outer.next_mask(layer, shape)
        self.masks.append(mask)
        self.owners.append(layer)
        return mask

    def finish(self) -> None:
        """Keep what was drawn; raise if masks are left over."""
        if not self.records:
            checks.check_all_masks_used(self.calls, len(self.masks))
            return
        checks.check_drawn_once(self.store.masks)
        # Copies: a task begun inside the block may outlive it, and go on drawing here.
        self.store.masks, self.store.owners = list(self.masks), list(self.owners)

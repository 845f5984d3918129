"""Where a call of dropout gets its mask: from chance, or from a block that holds masks still.

A net with dropout in training is a random function: each call of a dropout layer draws a mask,
so that no two passes run the same thinned net. To look at one thinned net more than once (to
check its gradient, to show it in a lesson, to compare two nets under one mask) its masks must
stay what they were. `DropoutMasks` keeps the masks of one pass, and gives them back, in the order
of the calls, in every pass that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..masks import read_only
from ..random import generator

#: Draws an array of a shape with a generator: a mask, or the noise of Gaussian dropout.
Draw = Callable[[tuple[int, ...], np.random.Generator], Any]


class MaskSource:
    """What takes the place of chance inside a block."""

    #: Whether dropout drops inside the block also where the module is in evaluation mode.
    drops_always: bool = False

    def draw(self, shape: tuple[int, ...], draw: Draw, rng: Any, training: bool, owner: Any) -> Any:
        """Return the mask of a call, as `draw_mask` does."""
        raise NotImplementedError


# A context variable rather than a global: it holds for one thread or asyncio task only.
mask_source: ContextVar[MaskSource | None] = ContextVar("mask_source", default=None)


def draw_mask(
    shape: tuple[int, ...], draw: Draw, rng: Any, training: bool, owner: Any = None
) -> Any:
    """Return the mask of one call of dropout, or None if nothing is to be dropped.

    Every kind of dropout, module or function, gets its masks here.

    Parameters
    ----------
    shape
        The shape of the mask.
    draw
        Draws such a mask with a generator.
    rng
        The generator of the module, or None for the library's.
    training
        Whether the module is in training mode.
    owner
        The module, or None where a function is called.
    """
    source = mask_source.get()
    if source is None:
        return draw(shape, generator(rng)) if training else None
    return source.draw(shape, draw, rng, training, owner)


class DropoutMasks:
    """The masks of one pass through a net, to be used again in others.

    The block ``with masks:`` is one pass. The first one draws, and keeps what it draws: one mask
    for each call of dropout, in the order of the calls, so that a module called twice has two.
    Every later block starts again from the first mask. It covers all kinds of dropout, modules
    and functions, for the current thread or asyncio task only.

    Parameters
    ----------
    masks
        Masks to be used from the first pass on, in the order of the calls: boolean arrays, True
        where a unit is kept (for `GaussianDropout`, its noise), of the shapes that would be drawn.

    Raises
    ------
    TypeError
        If `masks` are not several arrays of booleans or floats, or `hold` gets no function.
    RuntimeError
        Where a pass does not fit the masks, for nothing is drawn in their place: if it calls
        dropout more often or less often than there are masks, with another shape, or the same
        modules in another order.

    Notes
    -----
    Blocks may be nested, and the innermost counts. One that draws, draws from the block around
    it, if there is one: so a recurrent layer may hold one mask over its time steps, and a gradient
    check may hold the whole.

    Evaluation stays evaluation: there no module asks for a mask.

    A generator must not yield inside the block: what runs meanwhile would get its masks. If blocks
    end in another order than they began, as then they may, that is a RuntimeError.

    Only masks are held: if a module's `p` is changed between two passes, the second has the mask
    that was drawn with the old `p`, and scales by the new one.

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

    A gradient check evaluates a function many times. In `hold`, each of them is a pass:

    >>> from microgrand.testing import gradcheck
    >>> gradcheck(nn.DropoutMasks().hold(net), np.linspace(1, 2, 8), order=2)
    True

    And a mask may be chosen:

    >>> with nn.DropoutMasks([np.array([True, False])]):
    ...     nn.Dropout(0.5)([1.0, 1.0])
    Tensor([2., 0.])
    """

    def __init__(self, masks: Iterable[Any] | None = None) -> None:
        self.masks: list[Any] | None = None
        self.owners: list[Any] = []  # the modules that the masks were drawn for, to tell a mix-up
        if masks is not None:
            if not isinstance(masks, Iterable) or isinstance(masks, np.ndarray):
                got = "one array" if isinstance(masks, np.ndarray) else repr(masks)
                raise TypeError(
                    f"DropoutMasks takes a list of masks, one for each call of dropout, got {got}; "
                    "wrap it in a list, DropoutMasks([mask])"
                )
            self.masks = [self.check(i, mask) for i, mask in enumerate(masks)]
            self.owners = [None] * len(self.masks)

    @staticmethod
    def check(i: int, mask: Any) -> Any:
        """Return a copy of a given mask that nobody can write into."""
        array = np.array(mask)
        if array.dtype.kind not in "bf":
            raise TypeError(
                f"mask {i} is of dtype {array.dtype}, expected booleans, True where a unit is "
                "kept, or floats for the noise of GaussianDropout; compare, as in mask == 1"
            )
        return read_only(array)

    def __enter__(self) -> DropoutMasks:
        mask_source.set(Pass(self, mask_source.get()))
        return self

    def __exit__(self, exception: Any, *details: Any) -> None:
        innermost = this = mask_source.get()
        inner: Pass | None = None  # the block inside this one, if there still is one
        while isinstance(this, Pass) and this.holder is not self:
            inner, this = this, this.outer
        if isinstance(this, Pass) and this is innermost:
            mask_source.set(this.outer)
            if exception is None:
                this.finish()
            return
        if isinstance(this, Pass) and inner is not None:
            inner.outer = this.outer  # this block has ended, whatever the others do
        raise RuntimeError(
            "a block of DropoutMasks ended in another order than it began, or in another context, "
            "so that masks of several blocks were mixed up; that happens if a generator yields "
            "inside the block: enter the block anew for each item, and leave it before the yield"
        )

    def hold(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does what `function` does, each call inside ``with self:``.

        All its calls therefore use the masks of the first.
        """
        if not callable(function):
            raise TypeError(
                "DropoutMasks.hold takes a module or a function, to be called inside the block, "
                f"got {function!r}; write masks.hold(net)(x)"
            )

        def held(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return held

    def __len__(self) -> int:
        return len(self.masks or ())

    def __getitem__(self, i: int) -> Any:
        return (self.masks or [])[i]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.masks or ())

    def __repr__(self) -> str:
        if self.masks is None:
            return "DropoutMasks(), to be drawn in the first pass"
        if not self.masks:
            return "DropoutMasks([]), for passes without dropout"
        return f"DropoutMasks() of shapes {', '.join(str(mask.shape) for mask in self.masks)}"


class Pass(MaskSource):
    """One pass through a net inside a block of `DropoutMasks`: it draws masks, or uses them."""

    def __init__(self, holder: DropoutMasks, outer: MaskSource | None) -> None:
        self.holder = holder
        self.outer = outer
        self.draws = holder.masks is None
        self.masks = list(holder.masks or ())
        self.owners = list(holder.owners)
        self.calls = 0
        self.drops_always = outer is not None and outer.drops_always

    def draw(self, shape: tuple[int, ...], draw: Draw, rng: Any, training: bool, owner: Any) -> Any:
        """Return the next mask; raise if the pass is not the one that the masks belong to."""
        if not (training or self.drops_always):
            return None
        i = self.calls
        self.calls += 1
        if self.draws:
            if self.outer is None:
                mask = draw(shape, generator(rng))
            else:
                mask = self.outer.draw(shape, draw, rng, training, owner)
            self.masks.append(mask)
            self.owners.append(owner)
            return mask
        mask = self.masks[i] if i < len(self.masks) else None
        mixed_up = (
            mask is not None
            and owner is not None
            and owner is not self.owners[i]
            and any(owner is known for known in self.owners)
        )
        if mask is None or mixed_up or mask.shape != shape:
            raise RuntimeError(self.misfit(i, shape, owner, mixed_up))
        return mask

    def misfit(self, i: int, shape: tuple[int, ...], owner: Any, mixed_up: bool) -> str:
        """Say why a call has no mask."""
        who = "a function" if owner is None else repr(owner)
        if i >= len(self.masks):
            return (
                f"DropoutMasks ran out: there are {i}, and {who} asks for another. A block is one "
                "pass through the net: enter it anew for each, or let hold(net) do so"
            )
        if mixed_up:
            return (
                f"DropoutMasks: mask {i} was drawn for another module of this net than {who}, "
                "which asks for it now; each pass must call the modules in the same order"
            )
        return (
            f"DropoutMasks: mask {i} has shape {self.masks[i].shape}, and {who} needs {shape}; use "
            "an input of the shape that the masks were drawn for, or give a mask of that shape, as "
            f"in np.broadcast_to(mask, {shape})"
        )

    def finish(self) -> None:
        """Keep what was drawn; raise if masks are left over."""
        if not self.draws:
            if self.calls < len(self.masks):
                raise RuntimeError(
                    f"DropoutMasks: the pass used {self.calls} of {len(self.masks)} masks; "
                    "is a module in evaluation mode, or the net another one?"
                )
        elif self.holder.masks is not None:
            raise RuntimeError(
                "DropoutMasks: two passes drew masks at once, one within the other or in another "
                "thread; end the first before the next begins"
            )
        else:
            # Copies, as a task begun inside the block may outlive it, and go on drawing here.
            self.holder.masks, self.holder.owners = list(self.masks), list(self.owners)

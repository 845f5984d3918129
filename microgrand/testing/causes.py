"""Why a derivative is wrong: experiments, each of which has evidence for one cause or says nothing.

Evidence is what backward finds and what differences show, for a random cotangent and for several
elements of the input, here and at two points nearby. A number that is alone may be a multiple of
another by chance, so a cause has to explain all of them. An experiment that fails, as a framework
may not be able to do it, is left out: the finding is reported in any case.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..kinds import Array
from .adapters import as_outputs
from .differences import Suspicion
from .evidence import Evidence, agree, factor_of, gather, lengthened, lengths, perturbed
from .point import NOT_UNDONE, Line, Point, at, guarded
from .probes import fault_of_the_engine


def attempt(experiment: Callable[[], Any]) -> Any:
    """Return what an experiment finds, or None if it fails."""
    try:
        return experiment()
    except Exception as error:
        if type(error).__module__.split(".")[0] == "hypothesis":
            raise
        return None


def cause_of_crash(point: Point) -> str:
    """Return the line that tells why backward raises, or nothing: is it that shapes differ?"""

    def is_broadcasting() -> bool:
        shape = np.broadcast_shapes(*(x.shape for x in point.inputs))
        if all(x.shape == shape for x in point.inputs):
            return False
        equal = [np.broadcast_to(x, shape).copy() for x in point.inputs]
        other = Point(point.fn, equal, point.adapter, point.input_names, point.output_name)
        other.pull_back(np.full(other.magnitude.size, 0.7))
        return [v.shape for v in other.values] == [v.shape for v in point.values]

    return f"\ncause: {NOT_UNDONE}" if attempt(is_broadcasting) else ""


class Failure:
    """A derivative that is wrong, and experiments that tell why.

    Each experiment returns a sentence, or None if there is no evidence for that cause.

    Parameters
    ----------
    point
        The function.
    k, element
        The numbers of the input and of its element.
    cotangent
        The one for which it was noticed.
    rtol
        The relative error that is allowed.
    """

    def __init__(self, point: Point, k: int, element: int, cotangent: Array, rtol: float) -> None:
        self.point = point
        self.k = k
        self.element = element
        self.rtol = rtol
        self.x = point.inputs[k]
        point.evaluate_again(10)  # a draw would explain everything
        #: The outputs that the cotangent has. If it is one, the report is about its derivative.
        self.outputs = np.flatnonzero(cotangent)
        unit = cotangent[self.outputs[0]] if len(self.outputs) == 1 else 1.0
        self.cotangent = cotangent / unit
        gradient = point.pull_back(cotangent)[k].ravel() / unit
        self.found = float(gradient[element])
        self.scale = float(point.scales[k][element])
        self.direction = np.zeros(self.x.shape)
        self.direction.flat[element] = self.scale
        line = Line(point, k, self.direction)
        self.suspicion = Suspicion(line, self.cotangent, gradient, np.nan, rtol)
        roughness = attempt(lambda: self.suspicion.roughness) or 0.0
        #: The relative rounding of the values, and the step of differences with it.
        self.precision = float(np.clip(2 * roughness / self.size, point.eps, max(1e-3, point.eps)))
        self.step = self.precision ** (1 / 3)
        self.expected = self.slope(self.step)

    @property
    def size(self) -> float:
        """The size of the values that differences were taken of."""
        return self.suspicion.size or 1.0

    def slope(self, step: float) -> float:
        """Return the derivative that a central difference shows."""
        (behind, ahead), (left, right) = self.suspicion.defect(np.array([-step, step]))
        if not np.isfinite(self.found):
            values = self.along(np.array([-step, step]))
            return float((values[1] - values[0]) / (ahead - behind) / self.scale)
        return self.found + float((right - left) / (ahead - behind) / self.scale)

    def along(self, steps: Array) -> Array:
        """Return the values of the wrong derivative's output along its input."""
        moved = [self.point.moved(self.k, t * self.direction)[0] for t in steps]
        return np.array(moved) @ self.cotangent

    def report(self) -> str:
        """Say which derivative is wrong, by how much and, if an experiment tells, why."""
        point = self.point
        if len(self.outputs) == 1:
            above = point.output_at(int(self.outputs[0]))
        else:
            above = f"({point.output_name} along a random cotangent)"
        below = point.input_names[self.k] + at(self.x.shape, self.element)
        size = max(abs(self.found), abs(self.expected))
        error = abs(self.found - self.expected) / size if size else 0.0
        report = (
            f"wrong derivative d {above} / d {below}\n"
            f"found by backward: {self.found:.10g}\n"
            f"expected from differences: {self.expected:.10g}\n"
            f"relative error: {error:.3g}, allowed: {self.rtol:.3g}\n"
            f"{point.input_names[self.k]} has shape {self.x.shape} and dtype {self.x.dtype}"
        )
        if attempt(lambda: self.suspicion.is_only_rounding or self.suspicion.is_rounded_away):
            return f"{report}\n{ONLY_ROUNDING}"
        for experiment in (
            self.is_outside_the_domain,
            self.is_coarse,
            self.is_at_a_jump,
            self.is_at_a_kink,
            self.is_not_linear,
            self.is_cut_off,
            self.is_in_the_engine,
            self.is_overwritten,
            self.is_permuted,
            self.is_spread,
            self.is_counted_once,
            self.is_masked,
            self.is_in_the_wrong_places,
            self.is_off_by_a_factor,
        ):
            cause = attempt(experiment)
            if cause:
                return f"{report}\ncause: {cause}"
        return report

    # ---- experiments with the function alone

    def is_outside_the_domain(self) -> str | None:
        """Are the values there, but the derivative nan or infinite, or not even the values?"""
        values = self.along(self.point.step * np.array([-1.0, 0.0, 1.0]))
        if not np.isfinite(values).all():
            return "the function is not finite at or next to this point; check it inside its domain"
        if not np.isfinite(self.found):
            return f"backward produces {self.found} although the function is finite around here"
        return None

    def is_coarse(self) -> str | None:
        """Are the values rougher than their dtype, and is all well with a step that suits them?"""
        error = abs(self.found - self.expected) * self.scale
        noise = 10 * self.precision / self.step
        names = {2.0**-52: "float64", 2.0**-23: "float32"}
        coarser = {"float64": "float32", "float32": "float16"}
        dtype = names.get(self.point.eps)
        rough = self.suspicion.roughness > 16 * self.suspicion.floor
        if dtype is None or not rough or error > noise * self.size:
            return None
        if self.precision > 16 * np.finfo(coarser[dtype]).eps:  # which it cannot be
            return None
        return (
            f"the function's values are good to {self.precision:.1g} only, where {dtype} rounds to "
            f"{self.point.eps:.1g}; is a part of it computed in {coarser[dtype]}? "
            "Or do large terms cancel?"
        )

    def is_at_a_jump(self) -> str | None:
        """Do the values left and right differ, however short the step?"""
        step = self.point.step
        behind, here, ahead = self.along(step / 2**4 * np.array([-1.0, 0.0, 1.0]))
        behind_near, _, ahead_near = self.along(step / 2**8 * np.array([-1.0, 0.0, 1.0]))
        jump, jump_near = ahead - behind, ahead_near - behind_near
        # What is rounded to float32 has jumps, too, but not that large.
        least = max(1e-6, 16 * self.point.eps) * self.size
        if abs(jump) > least and 0.9 < jump_near / jump < 1.1:
            return (
                f"a jump at this point: the value is {behind:.6g} on the left, {here:.6g} here and "
                f"{ahead:.6g} on the right, so there is no derivative; move the input"
            )
        return None

    def is_at_a_kink(self) -> str | None:
        """Do the slopes left and right differ, however short the step?"""
        if not self.suspicion.is_kink:
            return None
        step = self.point.step
        behind, here, ahead = self.along(step * np.array([-1.0, 0.0, 1.0]))
        left, right = (here - behind) / step / self.scale, (ahead - here) / step / self.scale
        if abs(right - left) <= 1e-3 * max(abs(left), abs(right)):
            return None
        return (
            f"a kink at this point: the slope is {left:.6g} on the left and {right:.6g} on the "
            "right, so there is no derivative; move the input"
        )

    # ---- experiments with backward

    @cached_property
    def evidence(self) -> list[Evidence]:
        """What backward and differences say of the input, here and at two points nearby."""
        here = gather(self.point, self.k, self.element, self.step, 1)
        others = [
            attempt(lambda: gather(perturbed(self.point, n), self.k, self.element, self.step, n))  # noqa: B023
            for n in (2, 3)
        ]
        return [here, *(e for e in others if e is not None and np.isfinite(e.expected).all())]

    def holds(self, test: Callable[[Evidence], bool]) -> bool:
        """Tell whether something holds for all evidence."""
        return all(test(evidence) for evidence in self.evidence)

    def is_not_linear(self) -> str | None:
        """Is the gradient for u, 2 u and -u not 1, 2 and -1 times the same?"""
        u = self.evidence[0].cotangent
        once, twice, minus = (self.point.pull_back(t * u)[self.k] for t in (1, 2, -1))
        close = 64 * self.point.eps

        def same(a: Array, b: Array) -> bool:
            return np.allclose(a, b, rtol=close, atol=close * np.max(np.abs(a), initial=0.0))

        if same(minus, -once):
            return None
        if same(minus, once) and same(twice, once):
            return "the cotangent is ignored: the gradient is the same for u, 2 u and -u"
        if not np.any(once * minus):
            return (
                "the gradient is masked by the sign of the cotangent: where it arrives for u, it "
                "does not for -u; the mask belongs to the input"
            )
        return "the gradient is not linear in the cotangent: for -u it is not minus that for u"

    def is_cut_off(self) -> str | None:
        """Is there no gradient at all?"""
        if not self.holds(lambda e: not e.gradient.any()):
            return None
        if not self.holds(lambda e: bool(e.expected.any())):
            return None
        if self.point.output_name != "output":
            return (
                "no gradient arrives at second order: the derivative is computed with operations "
                "that are not recorded, on arrays perhaps, and so is a constant to backward"
            )
        return (
            "no gradient arrives at this input; is it detached, converted to an array, or "
            "used where nothing is recorded?"
        )

    def is_in_the_engine(self) -> str | None:
        """Does backward go wrong for sums and products already, if they use a value twice?"""
        return fault_of_the_engine(self.point.adapter, self.x.dtype)

    def is_overwritten(self) -> str | None:
        """Does using the input in twice as many outputs fail to double the gradient?"""
        point, here = self.point, self.evidence[0]
        leaves = [point.leaf(x) for x in point.inputs]
        outputs = [*as_outputs(point.fn(*leaves)), *as_outputs(point.fn(*leaves))]
        cotangents = point.tensors(here.cotangent) + point.tensors(here.cotangent)
        found = guarded(
            "adapter.gradients", point.adapter.gradients, outputs, cotangents, leaves, False
        )
        twice = point.as_gradient(self.k, found[self.k])
        if here.gradient.any() and np.allclose(twice, here.gradient, rtol=64 * point.eps, atol=0):
            return OVERWRITTEN
        return None

    def is_permuted(self) -> str | None:
        """Is it the right gradient with its axes in another order?"""
        shape = self.x.shape
        for axes in itertools.permutations(range(len(shape))):
            if axes == tuple(range(len(shape))) or tuple(shape[a] for a in axes) != shape:
                continue
            moved = [e.gradient.transpose(axes) for e in self.evidence]
            pairs = zip(self.evidence, moved, strict=True)
            if not all(agree(g.ravel()[e.sample], e.expected, e) for e, g in pairs):
                continue
            # What is the same along an axis was not computed there, but spread.
            flat = [a for a in range(len(shape)) if shape[a] > 1 and is_flat(self.evidence, a)]
            if flat:
                return spread_along(flat[0], axes[flat[0]])
            swapped = [a for a, b in enumerate(axes) if a != b]
            if len(swapped) == 2:
                return f"the result is transposed: axes {swapped[0]} and {swapped[1]} are swapped"
            return (
                f"the axes of the result are permuted: np.transpose(gradient, {axes}) would be "
                "right; is the inverse permutation missing?"
            )
        return None

    def is_spread(self) -> str | None:
        """Does one output reach a line of elements, and backward spread it along another axis?"""
        here = self.evidence[0]
        if len(here.sample) < self.x.size:
            return None
        axes = set()
        for i in range(min(self.point.magnitude.size, 4)):
            unit = np.zeros(self.point.magnitude.size)
            unit[i] = 0.7
            reached = np.zeros(self.x.size, bool)
            reached[here.sample] = here.moves(i)
            found = self.point.pull_back(unit)[self.k] != 0
            axes.add((axis_of_line(found), axis_of_line(reached.reshape(self.x.shape))))
        ((found_axis, right_axis),) = axes
        if found_axis is None or right_axis is None or found_axis == right_axis:
            return None
        return spread_along(found_axis, right_axis)

    def is_counted_once(self) -> str | None:
        """Is only one of several outputs counted to which an element goes?"""
        for name, which in (("last", -1), ("first", 0)):
            if self.holds(lambda e: e.is_one_share(which)):  # noqa: B023
                return (
                    f"of several places that an element goes to, only the {name} counts: where an "
                    "index is repeated, `gradient[index] = g` overwrites, and np.add.at adds up"
                )
        return None

    def is_masked(self) -> str | None:
        """Does the gradient arrive where nothing moves the output, or not arrive where it does?"""
        leaks = silent = right = 0
        for e in self.evidence:
            found, reaches = e.found, e.reaches
            if not all(
                agree(np.where(keep, found, 0), np.where(keep, e.expected, 0), e)
                for keep in [reaches & (found != 0)]
            ):
                return None
            leaks += int(np.count_nonzero(found[~reaches]))
            silent += int(np.count_nonzero(reaches & (found == 0)))
            right += int(np.count_nonzero(reaches & (found != 0)))
        if leaks + silent + right < 3:
            return None
        if leaks and right and not silent:
            return (
                "a mask is missing on the way back: the gradient arrives at elements that do not "
                "reach the output, and is right elsewhere"
            )
        if leaks and silent:
            return (
                "the mask on the way back is another one: elements that do not reach the output "
                "get a gradient, and some that reach it get none"
            )
        if silent and right:
            return (
                "no gradient arrives at some of the elements that reach the output, and that of "
                "the others is right; is there a mask or an index too many on the way back?"
            )
        return None

    def is_in_the_wrong_places(self) -> str | None:
        """Are they the right numbers in another order?"""
        if self.x.size < 3 or len(self.evidence[0].sample) < self.x.size:
            return None
        if self.holds(lambda e: agree(e.found, e.expected, e)):  # but for less than is told apart
            return None

        def reordered(e: Evidence) -> bool:
            return np.ptp(e.expected) > 0 and agree(np.sort(e.found), np.sort(e.expected), e)

        if self.holds(reordered):
            return (
                "the right numbers are in the wrong places: elements that were moved on the way "
                "forward have to be brought back"
            )
        return None

    def is_off_by_a_factor(self) -> str | None:
        """Is it the right gradient times a number, the same everywhere?"""
        factor = factor_of(self.evidence)
        if factor is None or f"{factor:.6g}" == "1":
            return None
        large = abs(factor) > 1
        n = round(abs(factor) if large else 1 / abs(factor))
        exact = abs((abs(factor) if large else 1 / abs(factor)) - n) < max(1e-4, self.step**2) * n
        if exact and n == 1 and factor < 0:
            return "the sign is wrong: a minus is missing, or one too many"
        if not exact or n == 1:
            return f"off by a factor: found is {factor:.6g} times the expected, everywhere"
        cause = f"off by a factor: {n} times too {'large' if large else 'small'}"
        cause += ", and the sign is wrong" if factor < 0 else ""
        missing = "missing" if large else "one too many"
        follows = self.follows_a_length(n, factor)
        if follows:
            return f"{cause}; {n} is also {follows}, so perhaps a 1/n is {missing}"
        return cause

    def follows_a_length(self, n: int, factor: float) -> str | None:
        """Say of what n is the number, if the factor changes when that does."""
        before = lengths(self.point)
        if n not in before or n == 2:
            return None
        tried = False
        for k, x in enumerate(self.point.inputs):
            for axis in range(x.ndim):
                longer = attempt(lambda: lengthened(self.point, k, axis))  # noqa: B023
                if longer is None:
                    continue
                after = lengths(longer)
                changed = [b for a, b in zip(before, after, strict=True) if a == n != b]
                if not changed:
                    continue
                evidence = attempt(
                    lambda: [gather(longer, self.k, self.element, self.step, s) for s in (1, 2)]  # noqa: B023
                )
                if evidence is None:
                    continue
                tried = True
                now = factor_of(evidence)
                if now is not None and any(
                    abs(max(abs(now), 1 / abs(now)) - b) < 1e-4 * b for b in changed
                ):
                    return "a number of elements here"
        return None if tried else "a number of elements here"


ONLY_ROUNDING = (
    "the output is only rounding at this point, so differences tell little and no cause is looked "
    "for; check another point, or a part of the function"
)
OVERWRITTEN = (
    "the gradient is overwritten instead of added: of several uses of the input only one counts"
)


def spread_along(found: int, right: int) -> str:
    """Word the cause of a reduction whose axis is not put back."""
    return (
        f"the gradient is spread along axis {found} instead of axis {right}: the axis of a sum is "
        "not put back; np.expand_dims(g, axis) before it is broadcast"
    )


def is_flat(evidence: Sequence[Evidence], axis: int) -> bool:
    """Tell whether the gradients are the same along an axis."""
    return all(
        np.max(np.ptp(e.gradient, axis=axis)) <= 1e-3 * np.max(np.abs(e.gradient)) for e in evidence
    )


def axis_of_line(reached: Array) -> int | None:
    """Return the axis along which lie all elements that are True, if they are a whole line."""
    places = np.argwhere(reached)
    if len(places) < 2:
        return None
    (axis, *others) = np.flatnonzero(np.ptp(places, axis=0))
    return int(axis) if not others and len(places) == reached.shape[axis] else None

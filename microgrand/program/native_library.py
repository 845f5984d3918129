"""What native parts call, as Python: functions of floats without branches, and access to memory.

Numba compiles these functions as they stand, except for access to memory and `product`, for which
it has its own code. A loop that calls `exp` is computed with vectors of numbers, where the C
library's would be called for each. Errors are below two units in the last place; infinities, nan
and subnormal numbers are as in NumPy.
"""

from __future__ import annotations

import ctypes
import math
from fractions import Fraction
from typing import Any

import numpy as np

f4, f8, i4, i8 = np.float32, np.float64, np.int32, np.int64


# ------------------------------------------------------------------------------------ memory


def addresses(*places: Any) -> Any:
    """Make a table of where arrays begin; it keeps them alive.

    A place is an array, or memory and how many bytes after its beginning.
    """
    table = np.empty(len(places), np.int64).view(Table)
    table.arrays = [place[0] if isinstance(place, tuple) else place for place in places]
    for i, place in enumerate(places):
        memory, offset = place if isinstance(place, tuple) else (place, 0)
        table[i] = memory.ctypes.data + offset
    return table


class Table(np.ndarray[Any, Any]):
    """Numbers, with the arrays whose addresses they are."""

    arrays: list[Any]


#: The length of a cache line in bytes; arrays begin at one.
LINE = 64


def memory_of(size: int) -> Any:
    """Allocate memory that begins at a cache line."""
    memory = np.empty(size + LINE - 1, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size]


def pointer_at(table: Any, place: int, count: int, dtype: Any) -> Any:
    """Return the numbers that begin at an address."""
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(int(table[place])), dtype)


def pointer(array: Any, count: int, dtype: Any) -> Any:
    """Return the numbers that begin where an array begins."""
    return pointer_at([array.__array_interface__["data"][0]], 0, count, dtype)


def product(
    sizes: Any, a: Any, place_in_a: Any, b: Any, place_in_b: Any, c: Any, place_in_c: Any
) -> None:
    """Multiply matrices: in `sizes` are rows, columns and terms, in a place its start and steps."""
    m, n, k = sizes
    x, y, z = (
        np.lib.stride_tricks.as_strided(
            memory[place[0] :], shape, [step * memory.itemsize for step in place[1:]]
        )
        for memory, place, shape in (
            (a, place_in_a, (m, k)),
            (b, place_in_b, (k, n)),
            (c, place_in_c, (m, n)),
        )
    )
    z[...] = x @ y


# --------------------------------------------------------------------------------- functions

#: A float plus this is rounded to an integer, which stands in its last bits.
MAGIC_4, MAGIC_8 = f4(1.5 * 2**23), f8(1.5 * 2**52)
MAGIC_BITS_4, MAGIC_BITS_8 = MAGIC_4.view(i4), MAGIC_8.view(i8)
LOG2_E_4, LOG2_E_8 = f4(1 / math.log(2)), f8(1 / math.log(2))
#: The logarithm of 2 in two parts: products of the first with small integers are exact.
LN2 = Fraction("0.69314718055994530941723212145818")
LN2_4, LN2_8 = f4(float(round(LN2 * 2**15)) / 2**15), f8(float(round(LN2 * 2**32)) / 2**32)
LN2_REST_4, LN2_REST_8 = f4(float(LN2 - Fraction(float(LN2_4)))), f8(float(LN2 - Fraction(LN2_8)))
ONE_4, ONE_8, TWO_4, TWO_8 = f4(1), f8(1), f4(2), f8(2)
#: Below the one, `exp` is 0, above the other, it is infinite.
LEAST_4, MOST_4, LEAST_8, MOST_8 = f4(-104), f4(89), f8(-746), f8(710)
#: Above them, `tanh` is 1.
FLAT_4, FLAT_8 = f4(10), f8(20)
SIGN_4, SIGN_8 = i4(-(2**31)), i8(-(2**63))
#: The bits of the root of a half: mantissas are taken between it and its double.
ROOT_4, ROOT_8 = f4(math.sqrt(0.5)).view(i4), f8(math.sqrt(0.5)).view(i8)
MANTISSA_4, MANTISSA_8 = i4(2**23 - 1), i8(2**52 - 1)
NORMAL_4, NORMAL_8 = np.finfo(f4).tiny, np.finfo(f8).tiny
RAISE_4, RAISED_4, RAISE_8, RAISED_8 = f4(2**25), f4(25), f8(2**54), f8(54)
ZERO_4, ZERO_8, INF_4, INF_8, NAN_4, NAN_8 = (
    f4(0),
    f8(0),
    f4("inf"),
    f8("inf"),
    f4("nan"),
    f8("nan"),
)
TOP_4, BOTTOM_4, TOP_8, BOTTOM_8 = i4(2**31 - 1), SIGN_4, i8(2**63 - 1), SIGN_8


def taylor(least: int, most: int, kind: Any) -> list[Any]:
    """Return the coefficients of the series of exp, from the last one on."""
    return [kind(1 / math.factorial(n)) for n in range(most, least - 1, -1)]


E7, E6, E5, E4, E3, E2 = taylor(2, 7, f4)
D13, D12, D11, D10, D9, D8, D7, D6, D5, D4, D3, D2 = taylor(2, 13, f8)
#: log((1 + s) / (1 - s)) is 2 s plus s times a series of s * s.
L9, L7, L5, L3 = (f4(2 / n) for n in (9, 7, 5, 3))
M21, M19, M17, M15, M13, M11, M9, M7, M5, M3 = (f8(2 / n) for n in range(21, 1, -2))


def exp_less_one_near_0_float32(r: Any) -> Any:
    """Return exp(r) - 1 for r between -log(2) / 2 and log(2) / 2."""
    return r + r * r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * (E6 + r * E7)))))


def exp_less_one_near_0_float64(r: Any) -> Any:
    """Return exp(r) - 1 for r between -log(2) / 2 and log(2) / 2."""
    p = D8 + r * (D9 + r * (D10 + r * (D11 + r * (D12 + r * D13))))
    return r + r * r * (D2 + r * (D3 + r * (D4 + r * (D5 + r * (D6 + r * (D7 + r * p))))))


def exp_float32(x: Any) -> Any:
    """Return e to a power: 2 to an integer, in two factors as it may be subnormal, and the rest."""
    x = LEAST_4 if x < LEAST_4 else x
    x = MOST_4 if x > MOST_4 else x
    t = x * LOG2_E_4 + MAGIC_4
    n = t - MAGIC_4
    p = exp_less_one_near_0_float32((x - n * LN2_4) - n * LN2_REST_4) + ONE_4
    k = i4(f4(t).view(np.int32) - MAGIC_BITS_4)
    half = i4(k >> 1)
    first, second = i4(i4(half + 127) << 23), i4(i4(k - half + 127) << 23)
    return p * i4(first).view(np.float32) * i4(second).view(np.float32)


def exp_float64(x: Any) -> Any:
    """Return e to a power."""
    x = LEAST_8 if x < LEAST_8 else x
    x = MOST_8 if x > MOST_8 else x
    t = x * LOG2_E_8 + MAGIC_8
    n = t - MAGIC_8
    p = exp_less_one_near_0_float64((x - n * LN2_8) - n * LN2_REST_8) + ONE_8
    k = f8(t).view(np.int64) - MAGIC_BITS_8
    half = k >> 1
    first, second = (half + 1023) << 52, (k - half + 1023) << 52
    return p * i8(first).view(np.float64) * i8(second).view(np.float64)


def tanh_float32(x: Any) -> Any:
    """Return the hyperbolic tangent: with m = exp(2 |x|) - 1 it is m / (m + 2)."""
    a = np.absolute(x)
    a = TWO_4 * (FLAT_4 if a > FLAT_4 else a)
    t = a * LOG2_E_4 + MAGIC_4
    n = t - MAGIC_4
    p = exp_less_one_near_0_float32((a - n * LN2_4) - n * LN2_REST_4)
    scale = i4(i4(f4(t).view(np.int32) - MAGIC_BITS_4 + 127) << 23).view(np.float32)
    m = scale * p + (scale - ONE_4)
    w = m / (m + TWO_4)
    return i4(f4(w).view(np.int32) | (f4(x).view(np.int32) & SIGN_4)).view(np.float32)


def tanh_float64(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    a = np.absolute(x)
    a = TWO_8 * (FLAT_8 if a > FLAT_8 else a)
    t = a * LOG2_E_8 + MAGIC_8
    n = t - MAGIC_8
    p = exp_less_one_near_0_float64((a - n * LN2_8) - n * LN2_REST_8)
    scale = i8((f8(t).view(np.int64) - MAGIC_BITS_8 + 1023) << 52).view(np.float64)
    m = scale * p + (scale - ONE_8)
    w = m / (m + TWO_8)
    return i8(f8(w).view(np.int64) | (f8(x).view(np.int64) & SIGN_8)).view(np.float64)


def log_float32(x: Any) -> Any:
    """Return the natural logarithm: that of a power of 2, and that of 1 + f."""
    is_small = x < NORMAL_4
    bits = i4(f4(x * RAISE_4 if is_small else x).view(np.int32) - ROOT_4)
    k = f4(bits >> 23) - (RAISED_4 if is_small else ZERO_4)
    f = i4((bits & MANTISSA_4) + ROOT_4).view(np.float32) - ONE_4
    s = f / (TWO_4 + f)
    z = s * s
    rest = z * (L3 + z * (L5 + z * (L7 + z * L9)))
    y = k * LN2_4 - ((s * (f - rest) - k * LN2_REST_4) - f)
    y = x if x == INF_4 or x != x else y
    y = -INF_4 if x == ZERO_4 else y
    return NAN_4 if x < ZERO_4 else y


def log_float64(x: Any) -> Any:
    """Return the natural logarithm."""
    is_small = x < NORMAL_8
    bits = f8(x * RAISE_8 if is_small else x).view(np.int64) - ROOT_8
    k = f8(bits >> 52) - (RAISED_8 if is_small else ZERO_8)
    f = i8((bits & MANTISSA_8) + ROOT_8).view(np.float64) - ONE_8
    s = f / (TWO_8 + f)
    z = s * s
    rest = M13 + z * (M15 + z * (M17 + z * (M19 + z * M21)))
    rest = z * (M3 + z * (M5 + z * (M7 + z * (M9 + z * (M11 + z * rest)))))
    y = k * LN2_8 - ((s * (f - rest) - k * LN2_REST_8) - f)
    y = x if x == INF_8 or x != x else y
    y = -INF_8 if x == ZERO_8 else y
    return NAN_8 if x < ZERO_8 else y


def up_float32(x: Any) -> Any:
    """Return an integer in the order of floats, the largest of all for nan."""
    bits = f4(x).view(np.int32)
    return TOP_4 if x != x else i4(bits ^ ((bits >> 31) & TOP_4))


def up_float64(x: Any) -> Any:
    """Return an integer in the order of floats, the largest of all for nan."""
    bits = f8(x).view(np.int64)
    return TOP_8 if x != x else bits ^ ((bits >> 63) & TOP_8)


def down_float32(x: Any) -> Any:
    """Return an integer in the order of floats, the smallest of all for nan."""
    bits = f4(x).view(np.int32)
    return BOTTOM_4 if x != x else i4(bits ^ ((bits >> 31) & TOP_4))


def down_float64(x: Any) -> Any:
    """Return an integer in the order of floats, the smallest of all for nan."""
    bits = f8(x).view(np.int64)
    return BOTTOM_8 if x != x else bits ^ ((bits >> 63) & TOP_8)


def back_float32(order: Any) -> Any:
    """Return the float that stands at an integer in the order of floats."""
    return i4(order ^ ((order >> 31) & TOP_4)).view(np.float32)


def back_float64(order: Any) -> Any:
    """Return the float that stands at an integer in the order of floats."""
    return i8(order ^ ((order >> 63) & TOP_8)).view(np.float64)

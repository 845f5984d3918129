"""Products of large matrices, tile by tile, with vectors of 512 bits.

The rows of a tile of one matrix and the columns of another are packed so that they are read one
after the other, and the tile of their product stands in the processor's registers all the time.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from . import native_library
from .numba_library import INNER, OfLoops

#: The size of the vectors in bytes.
BYTES = 64


def tile_of(rows: int) -> Any:
    """Return a function that multiplies a tile: packed rows of one matrix, columns of another."""

    @intrinsic
    def tile(typingctx, k, a, from_a, b, from_b, c, from_c, step, goes_on):
        return types.void(k, a, from_a, b, from_b, c, from_c, step, goes_on), write_tile(rows)

    return tile


def write_tile(rows: int) -> Any:
    """Return what writes a tile's code: its sums stand in the processor's vectors, two a row."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        k, a, from_a, b, from_b, c, from_c, step, goes_on = args
        number = context.get_value_type(signature.args[1].dtype)
        number_size = 4 if signature.args[1].dtype == types.float32 else 8
        length = BYTES // number_size
        vector, integer = ir.VectorType(number, length), k.type
        short = ir.IntType(32)

        def at(pointer: Any, *places: Any) -> Any:
            place = functools.reduce(builder.add, places)
            return builder.gep(pointer, [place])

        def load(pointer: Any, *places: Any) -> Any:
            return builder.load(
                builder.bitcast(at(pointer, *places), vector.as_pointer()), align=number_size
            )

        name = f"llvm.fma.v{length}f{8 * number_size}"
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), name
        )
        nothing = ir.Constant(vector, [0.0] * length)
        before = builder.block
        begun, loop, after = (
            builder.append_basic_block(name) for name in ("begun", "terms", "stored")
        )
        builder.cbranch(builder.icmp_signed("!=", goes_on, integer(0)), begun, loop)

        def place(row: int, column: int) -> tuple[Any, ...]:
            return c, from_c, builder.mul(step, integer(row)), integer(column * length)

        places = [(row, column) for row in range(rows) for column in range(2)]
        builder.position_at_end(begun)
        sums_before = [load(*place(*where)) for where in places]
        builder.branch(loop)
        builder.position_at_end(loop)
        term = builder.phi(integer)
        totals = [builder.phi(vector) for _ in places]
        at_a = builder.add(from_a, builder.mul(term, integer(rows)))
        at_b = builder.add(from_b, builder.mul(term, integer(2 * length)))
        right = [load(b, at_b, integer(i * length)) for i in range(2)]
        sums = []
        for (row, column), total in zip(places, totals, strict=True):
            if column == 0:
                one = builder.load(at(a, at_a, integer(row)))
                one = builder.insert_element(ir.Constant(vector, ir.Undefined), one, short(0))
                all_first = ir.Constant(ir.VectorType(short, length), [0] * length)
                left = builder.shuffle_vector(one, one, all_first)
            sums.append(builder.call(fma, [left, right[column], total]))
        following = builder.add(term, integer(1))
        for block, count in ((before, 0), (begun, 0), (loop, following)):
            term.add_incoming(integer(0) if count == 0 else count, block)
        for total, old, new in zip(totals, sums_before, sums, strict=True):
            for block, value in ((before, nothing), (begun, old), (loop, new)):
                total.add_incoming(value, block)
        builder.cbranch(builder.icmp_signed("<", following, k), loop, after)
        builder.position_at_end(after)
        for where, total in zip(places, sums, strict=True):
            pointer = builder.bitcast(at(*place(*where)), vector.as_pointer())
            builder.store(total, pointer, align=number_size)
        return context.get_dummy_value()

    return generate


tile_14, tile_13, tile_11, tile_8 = map(tile_of, native_library.ROWS)


@numba.njit(**INNER)
def tile(rows, k, a, from_a, b, from_b, c, from_c, step, goes_on):
    """Multiply a tile of so many rows."""
    if rows == 14:
        tile_14(k, a, from_a, b, from_b, c, from_c, step, goes_on)
    elif rows == 13:
        tile_13(k, a, from_a, b, from_b, c, from_c, step, goes_on)
    elif rows == 11:
        tile_11(k, a, from_a, b, from_b, c, from_c, step, goes_on)
    else:
        tile_8(k, a, from_a, b, from_b, c, from_c, step, goes_on)


@numba.njit(pipeline_class=OfLoops, **INNER)
def pack(rows, m, k, a, start, row, column, packed, place):
    """Copy some rows of a matrix so that they are read term by term; those that lack are 0."""
    for i in range(m, rows):
        for term in range(k):
            packed[place + term * rows + i] = 0
    if row == 1:
        for term in range(k):
            for i in range(m):
                packed[place + term * rows + i] = a[start + i + term * column]
    else:
        for i in range(m):
            for term in range(k):
                packed[place + term * rows + i] = a[start + i * row + term * column]


@overload(native_library.product_in_tiles, strict=False)
def product_in_tiles(
    sizes, rows, columns, a, place_in_a, b, place_in_b, c, place_in_c, scratch
) -> Any:
    most, panels = native_library.TERMS, native_library.PANELS

    def in_tiles(
        sizes, rows, columns, a, place_in_a, b, place_in_b, c, place_in_c, scratch
    ) -> None:
        m, n, all_terms = sizes
        start_a, row_a, column_a = place_in_a
        start_b, row_b, column_b = place_in_b
        start_c, step, _ = place_in_c
        packed_b = rows * panels * min(all_terms, most)
        corner = packed_b + -(-n // columns) * columns * min(all_terms, most)
        for term in range(0, all_terms, most):
            k = min(most, all_terms - term)
            for j in range(0, n, columns):
                pack(columns, min(columns, n - j), k, b, start_b + term * row_b + j * column_b,
                     column_b, row_b, scratch, packed_b + j * k)  # fmt: skip
            for block in range(0, m, rows * panels):
                end = min(m, block + rows * panels)
                for i in range(block, end, rows):
                    pack(rows, min(rows, m - i), k, a, start_a + i * row_a + term * column_a,
                         row_a, column_a, scratch, (i - block) * k)  # fmt: skip
                for j in range(0, n, columns):
                    for i in range(block, end, rows):
                        from_a, from_b = (i - block) * k, packed_b + j * k
                        from_c = start_c + i * step + j
                        if i + rows <= m and j + columns <= n:
                            tile(rows, k, scratch, from_a, scratch, from_b, c, from_c, step, term)
                            continue
                        tile(rows, k, scratch, from_a, scratch, from_b, scratch, corner, columns, 0)
                        for x in range(min(rows, m - i)):
                            for y in range(min(columns, n - j)):
                                value = scratch[corner + x * columns + y]
                                if term > 0:
                                    value += c[from_c + x * step + y]
                                c[from_c + x * step + y] = value

    return in_tiles

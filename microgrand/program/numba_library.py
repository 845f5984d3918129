"""What native parts call, as Numba compiles it; how it compiles them."""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.extending import intrinsic, overload, register_jitable
from numba.np.linalg import check_blas_return, ensure_blas

from . import native_library

ensure_blas()


class Whole(JITCodeLibrary):  # type: ignore[misc]
    """The code of a part, with all that it calls: optimized once."""

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class Inner(JITCodeLibrary):  # type: ignore[misc]
    """The code of a function that others call: it is optimized, and made machine code, with them.

    It stays a function: what its pointers point to is known to lie apart there.
    """

    def add_ir_module(self, ir_module: Any) -> None:
        """Take code in."""
        for function in ir_module.functions:
            if function.blocks:
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        names = [v.name for v in self._final_module.global_variables if v.name.startswith("_ZN08NumbaEnv")]
        module = llvmlite.binding.parse_assembly("".join(f'@"{name}" = common global i64 0\n' for name in names))
        module.data_layout = self._codegen._data_layout
        self._codegen._add_module(module)
        self._codegen._engine.finalize_object()
        self._finalized = True


class OfParts(CompilerBase):  # type: ignore[misc]
    """Compiles parts as Numba does."""

    library = Whole

    def define_pipelines(self) -> Any:
        """Return Numba's own pipeline."""
        self.state.library = self.library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


class OfLoops(OfParts):
    """Compiles functions whose pointers point to different memory, as far as it is written into.

    The processor may then compute with vectors of numbers.
    """

    library = Inner

    def define_pipelines(self) -> Any:
        """Return Numba's own pipeline."""
        self.state.flags.noalias = True
        return super().define_pipelines()


#: The size of the vectors that tiles are computed with.
BYTES = 64
#: Division by zero gives inf, as NumPy's does.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}
INNER = {**OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
WHOLE = {**OPTIONS, "no_cfunc_wrapper": True, "pipeline_class": OfParts}
part = numba.njit(cache=True, **WHOLE)
part_in_memory = numba.njit(**WHOLE)
piece = numba.njit(**INNER)
loop = numba.njit(pipeline_class=OfLoops, **INNER)
#: Terms of sums may be added in any order; there is nothing else in these functions.
total = numba.njit(pipeline_class=OfLoops, fastmath={"reassoc", "contract"}, **INNER)


# ------------------------------------------------------------------------------------ memory


@intrinsic  # type: ignore[untyped-decorator]
def pointer_to(typingctx: Any, address: Any, dtype: Any) -> Any:
    """Take a number for an address."""
    kind = types.CPointer(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(address, dtype), generate


@intrinsic  # type: ignore[untyped-decorator]
def start_of(typingctx: Any, array: Any, dtype: Any) -> Any:
    """Return where an array begins."""
    kind = types.CPointer(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.bitcast(data, context.get_value_type(kind))

    return kind(array, dtype), generate


@overload(native_library.pointer_at, strict=False)  # type: ignore[untyped-decorator]
def pointer_at(table: Any, place: Any, count: Any, dtype: Any) -> Any:
    return lambda table, place, count, dtype: pointer_to(table[place], dtype)


@overload(native_library.pointer, strict=False)  # type: ignore[untyped-decorator]
def pointer(array: Any, count: Any, dtype: Any) -> Any:
    return lambda array, count, dtype: start_of(array, dtype)


# -------------------------------------------------------------------------------------- BLAS


@intrinsic  # type: ignore[untyped-decorator]
def gemm(  # type: ignore[no-untyped-def]
    typingctx, of_a, of_b, m, n, k, a, from_a, lda, b, from_b, ldb, c, from_c, ldc
) -> Any:
    """Call BLAS for matrices that lie column by column, from elements of what is pointed at."""
    given = (of_a, of_b, m, n, k, a, from_a, lda, b, from_b, ldb, c, from_c, ldc)
    kind = {types.float32: "s", types.float64: "d"}[a.dtype]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        of_a, of_b, m, n, k, a, from_a, lda, b, from_b, ldb, c, from_c, ldc = args
        char, pointer = ir.IntType(8), cgutils.voidptr_t
        size = context.get_value_type(types.intp)
        dtype = context.get_value_type(signature.args[5].dtype)
        a, b, c = (
            builder.bitcast(builder.gep(array, [first]), pointer)
            for array, first in ((a, from_a), (b, from_b), (c, from_c))
        )
        one, zero = (
            builder.bitcast(cgutils.alloca_once_value(builder, ir.Constant(dtype, x)), pointer)
            for x in (1.0, 0.0)
        )
        kinds = [*[char] * 3, *[size] * 3, pointer, pointer, size, pointer, size]
        kinds += [pointer, pointer, size]
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.IntType(32), kinds), "numba_xxgemm"
        )
        sides = [builder.trunc(of_a, char), builder.trunc(of_b, char)]
        given = (one, a, lda, b, ldb, zero, c, ldc)
        status = builder.call(function, (ir.Constant(char, ord(kind)), *sides, m, n, k, *given))
        check_blas_return(context, builder, status)
        return context.get_dummy_value()

    return types.void(*given), generate


@overload(native_library.product, strict=False)  # type: ignore[untyped-decorator]
def product(
    sizes: Any, a: Any, place_in_a: Any, b: Any, place_in_b: Any, c: Any, place_in_c: Any
) -> Any:
    def with_blas(  # whose columns are our rows
        sizes: Any, a: Any, place_in_a: Any, b: Any, place_in_b: Any, c: Any, place_in_c: Any
    ) -> None:
        m, n, k = sizes
        of_a, of_b = 116 if place_in_a[2] != 1 else 110, 116 if place_in_b[2] != 1 else 110
        lda = place_in_a[1] if place_in_a[2] == 1 else place_in_a[2]
        ldb = place_in_b[1] if place_in_b[2] == 1 else place_in_b[2]
        gemm(of_b, of_a, n, m, k, b, place_in_b[0], ldb, a, place_in_a[0], lda,
             c, place_in_c[0], place_in_c[1])  # fmt: skip

    return with_blas


# ------------------------------------------------------------------------------------- tiles


def tile_of(rows: int) -> Any:
    """Return a function that multiplies a tile: packed rows of one matrix, columns of another."""

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(typingctx, k, a, from_a, b, from_b, c, from_c, step, goes_on):  # type: ignore[no-untyped-def]
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
            return builder.load(builder.bitcast(at(pointer, *places), vector.as_pointer()), align=number_size)

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


@numba.njit(**INNER)  # type: ignore[untyped-decorator]
def tile(rows, k, a, from_a, b, from_b, c, from_c, step, goes_on):  # type: ignore[no-untyped-def]
    """Multiply a tile of so many rows."""
    if rows == 14:
        tile_14(k, a, from_a, b, from_b, c, from_c, step, goes_on)
    elif rows == 13:
        tile_13(k, a, from_a, b, from_b, c, from_c, step, goes_on)
    elif rows == 11:
        tile_11(k, a, from_a, b, from_b, c, from_c, step, goes_on)
    else:
        tile_8(k, a, from_a, b, from_b, c, from_c, step, goes_on)


@numba.njit(pipeline_class=OfLoops, **INNER)  # type: ignore[untyped-decorator]
def pack(rows, m, k, a, start, row, column, packed, place):  # type: ignore[no-untyped-def]
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


@overload(native_library.product_in_tiles, strict=False)  # type: ignore[untyped-decorator]
def product_in_tiles(  # type: ignore[no-untyped-def]
    sizes, rows, columns, a, place_in_a, b, place_in_b, c, place_in_c, scratch
) -> Any:
    most, panels = native_library.TERMS, native_library.PANELS

    def in_tiles(  # type: ignore[no-untyped-def]
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


# --------------------------------------------------------------------------------- functions

for name in ("exp_less_one_near_0", "exp", "tanh", "log", "up", "down", "back"):
    for dtype in ("float32", "float64"):
        function = getattr(native_library, f"{name}_{dtype}")
        register_jitable(forceinline=True, fastmath={"contract"})(function)

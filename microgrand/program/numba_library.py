"""What native parts call, as Numba compiles it; how it compiles them."""

from __future__ import annotations

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


#: In the names of variables that hold a function's global names.
ENVIRONMENT = "NumbaEnv"


class Whole(JITCodeLibrary):
    """The code of a part, with all that it calls: optimized once."""

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class Inner(JITCodeLibrary):
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
        names = [v.name for v in self._final_module.global_variables if ENVIRONMENT in v.name]
        text = "".join(f'@"{name}" = common global i64 0\n' for name in names)
        module = llvmlite.binding.parse_assembly(text)  # Numba writes into it, to no end
        module.data_layout = self._codegen._data_layout
        self._codegen._add_module(module)
        self._codegen._engine.finalize_object()
        self._finalized = True


class OfParts(CompilerBase):
    """Compiles parts as Numba does."""

    library = Whole

    def define_pipelines(self) -> Any:
        """Return Numba's own pipeline."""
        self.state.library = self.library(
            self.state.targetctx.codegen(), self.state.func_id.func_qualname
        )
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


@intrinsic
def pointer_to(typingctx: Any, address: Any, dtype: Any) -> Any:
    """Take a number for an address."""
    kind = types.CPointer(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(address, dtype), generate


@intrinsic
def data_of(typingctx: Any, array: Any, dtype: Any) -> Any:
    """Return where an array begins."""
    kind = types.CPointer(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.bitcast(data, context.get_value_type(kind))

    return kind(array, dtype), generate


@overload(native_library.pointer_at, strict=False)
def pointer_at(table: Any, place: Any, count: Any, dtype: Any) -> Any:
    return lambda table, place, count, dtype: pointer_to(table[place], dtype)


@overload(native_library.pointer, strict=False)
def pointer(array: Any, count: Any, dtype: Any) -> Any:
    return lambda array, count, dtype: data_of(array, dtype)


# -------------------------------------------------------------------------------------- BLAS


@intrinsic
def gemm(typingctx, of_a, of_b, m, n, k, a, from_a, lda, b, from_b, ldb, c, from_c, ldc) -> Any:
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


@overload(native_library.product, strict=False)
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


# --------------------------------------------------------------------------------- functions

for name in ("exp_less_one_near_0", "exp", "tanh", "log", "up", "down", "back"):
    for dtype in ("float32", "float64"):
        function = getattr(native_library, f"{name}_{dtype}")
        register_jitable(forceinline=True, fastmath={"contract"})(function)

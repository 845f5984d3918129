"""What a recording must know of NumPy's functions, and of the methods of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .calls import Attribute, Method

#: The classes of arrays that are recorded.
ARRAYS = (np.ndarray, np.memmap)
#: Functions that ask about shapes and types only.
OF_SHAPES = {
    *(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.min_scalar_type),
    *(np.common_type, np.iscomplexobj, np.isrealobj),
}
#: Functions that ask whose memory arrays are in.
OF_MEMORY = {np.shares_memory, np.may_share_memory}
#: Functions whose result has a dtype that depends on values: real or complex.
OF_ANY_DTYPE: set[Any] = {
    *(np.linalg.eig, np.linalg.eigvals, np.roots, np.poly, np.real_if_close, np.apply_along_axis),
    *(getattr(np.emath, name) for name in np.emath.__all__),
}
#: Functions whose result has a shape that depends on values.
OF_ANY_SHAPE = {
    *(np.nonzero, np.flatnonzero, np.argwhere, np.extract, np.compress, np.unique, np.repeat),
    *(np.union1d, np.intersect1d, np.setdiff1d, np.setxor1d, np.trim_zeros, np.bincount),
    *(np.unique_all, np.unique_counts, np.unique_inverse, np.unique_values, np.delete),
    *(np.where, np.insert, np.histogram, np.histogram_bin_edges, np.ix_, np.apply_along_axis),
    *(np.roots, np.polymul, np.polydiv, np.polyfit, np.linalg.lstsq),
    *(Method("nonzero"), Method("compress"), Method("repeat")),
}
#: Functions in whose result numbers among the arguments are values, not lengths or axes.
OF_NUMBERS = {
    *(np.where, np.clip, np.take, np.searchsorted, np.choose, np.select, np.isin, np.digitize),
    *(np.dot, np.roll, np.round, np.around, np.isclose, np.allclose, np.array_equal, np.interp),
    *(Method("clip"), Method("take"), Method("searchsorted"), Method("choose"), Method("dot")),
    Method("round"),
}
#: Functions that take lengths, axes or places to split at as an array, too.
OF_LENGTHS: set[Any] = {
    *(np.reshape, np.resize, np.tile, np.broadcast_to, np.pad, np.transpose, np.moveaxis),
    *(np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit, np.zeros_like, np.ones_like),
    *(np.empty_like, np.full_like, Method("reshape"), Method("transpose")),
}
#: Functions that may return their argument itself, unchanged.
RETURNS_ITS_ARGUMENT = {
    *(np.real, np.atleast_1d, np.atleast_2d, np.atleast_3d, np.asarray),
    *(Attribute("real"), Method("astype"), getattr(np, "astype", None)),
}
#: Functions that make an array, of the library of the one that they are given as ``like``.
MAKING: set[Any] = {
    *(np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, np.require),
    *(np.zeros, np.ones, np.empty, np.full, np.eye, np.identity, np.tri, np.arange),
}
#: Functions that only ask an array for its shape and dtype.
OF_A_SHAPE = {np.zeros_like, np.ones_like}
#: What an array says about itself without its values.
FACTS = {"shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides"}
ATTRIBUTES = {"T", "mT", "real", "imag"}
METHODS = {
    *("all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "byteswap", "choose"),
    *("clip", "compress", "conj", "conjugate", "copy", "cumprod", "cumsum", "diagonal", "dot"),
    *("flatten", "max", "mean", "min", "nonzero", "prod", "ravel", "repeat", "reshape", "round"),
    *("searchsorted", "squeeze", "std", "sum", "swapaxes", "take", "trace", "transpose", "var"),
    "view",
}
METHODS_IN_PLACE = {"sort", "partition", "fill", "put"}
#: Flags that strides tell, and one that is looked at wherever it matters.
FLAGS_OF_STRIDES = {
    *("c_contiguous", "f_contiguous", "contiguous", "fortran", "fnc", "forc", "writeable"),
    *("C_CONTIGUOUS", "F_CONTIGUOUS", "C", "F", "CONTIGUOUS", "FORTRAN", "FNC", "FORC"),
    *("WRITEABLE", "W"),
}
#: Methods that give the values to Python.
METHODS_OF_VALUES = {
    "item",
    "tolist",
    "tobytes",
    "tofile",
    "dump",
    "dumps",
    "is_integer",
    "hex",
    "as_integer_ratio",
}

"""Checkpoints as ``.safetensors``, the format of the library of that name (an extra).

Eight bytes with the length of a header, the header in JSON, and the numbers: the header gives each
array's dtype, shape, and place. It is checked here before the library reads the arrays, because
the library accepts names that occur twice.

An array with several names, such as a tied weight, is stored once: PyTorch's side of the library
reads no other files. The metadata map the other names to it, as PyTorch's do: ``{other: first}``.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, BinaryIO

import numpy as np

from . import checks
from .nests import from_text

#: The key of the JSON among the file's metadata.
TEXT = "microgrand.checkpoint"
#: The header's entry that does not describe an array.
RESERVED = "__metadata__"
#: The format's own limit.
MOST = 100_000_000
BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "C64": 8, "BOOL": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1,
}  # fmt: skip
DTYPES = {
    np.dtype(name)
    for name in (
        "f8", "f4", "f2", "c8", "?", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1",
    )
}  # fmt: skip


def library() -> Any:
    """Import the library, and what it needs for bfloat16."""
    try:
        importlib.import_module("ml_dtypes")
        importlib.import_module("safetensors.numpy")
        return importlib.import_module("safetensors")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error}; .safetensors files need it: pip install 'microgrand[safetensors]', or use "
            ".npz, which needs nothing"
        ) from None


def write(file: BinaryIO, arrays: dict[str, Any], text: bytes) -> None:
    """Write arrays by name, and a string."""
    if RESERVED in arrays:
        raise ValueError(f"checkpoint: in .safetensors files, no array has the name {RESERVED!r}")
    for name, array in arrays.items():
        if array.dtype.newbyteorder("=") not in DTYPES:
            raise TypeError(
                f"checkpoint: {name} is of dtype {array.dtype}, which .safetensors files do not "
                "have; save it as .npz"
            )
    first = first_names(arrays)
    contiguous = {
        name: np.ascontiguousarray(array).reshape(array.shape)
        for name, array in arrays.items()
        if name not in first
    }
    metadata = {**first, "format": "pt", TEXT: text.decode()}
    file.write(library().numpy.save(contiguous, metadata))


def first_names(arrays: dict[str, Any]) -> dict[str, str]:
    """Return the first name of each array that has had one before, by its later names."""
    names: dict[Any, str] = {}
    first = {}
    for name, array in arrays.items():
        place = (array.__array_interface__["data"], array.shape, array.strides, array.dtype)
        known = names.setdefault(place, name) if array.size else name
        if known != name and name not in ("format", TEXT):
            first[name] = known
    return first


def read(file: BinaryIO) -> tuple[dict[str, Any], bytes | None]:
    """Read arrays by name, and the text if there is one; bfloat16 becomes float32."""
    safetensors = library()
    header, start = read_header(file)
    metadata = header.pop(RESERVED, {})
    is_text = isinstance(metadata, dict) and all(type(v) is str for v in metadata.values())
    if not is_text:
        raise checks.Refused("its metadata are not strings")
    check_places(header, os.fstat(file.fileno()).st_size - start)
    arrays = {}
    with safetensors.safe_open(file.name, framework="numpy") as opened:
        for name, entry in header.items():
            array = opened.get_tensor(name)
            checks.check_shape(name, entry["shape"], array.itemsize, array.nbytes)
            arrays[name] = array.astype(np.float32) if entry["dtype"] == "BF16" else array
    for name, known in metadata.items():
        if known in arrays and name not in ("format", TEXT):
            arrays.setdefault(name, arrays[known])
    text = metadata.get(TEXT)
    return arrays, None if text is None else text.encode()


def read_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the header, and where the numbers begin."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MOST):
        raise checks.Refused(f"it promises a header of {length} bytes, and has {size}")
    text = file.read(length)
    if not text.startswith(b"{"):
        raise checks.Refused("it does not begin with a header")
    header = from_text(text)
    return header, 8 + length


def check_places(header: dict[str, Any], size: int) -> None:
    """Raise unless the arrays fill the file without gaps, and have dtypes that are known."""
    places = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise checks.Refused(f"the header's entry of {name!r} does not describe an array")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in BYTES:
            raise checks.Refused(f"{name!r} is of dtype {dtype!r:.60}, which is not known here")
        is_pair = isinstance(offsets, list) and len(offsets) == 2
        if not is_pair or not all(type(x) is int and x >= 0 for x in offsets):
            raise checks.Refused(f"{name!r} has the place {offsets!r:.60}")
        if not isinstance(shape, list):
            raise checks.Refused(f"{name!r} has the shape {shape!r:.60}")
        checks.check_shape(name, shape, BYTES[dtype], offsets[1] - offsets[0])
        places.append((*offsets, name))
    end = 0
    for start, stop, name in sorted(places):
        if start != end:
            raise checks.Refused(f"{name!r} begins at byte {start}, where {end} is expected")
        end = stop
    if end != size:
        raise checks.Refused(f"its arrays have {end} bytes, and the file has {size} for them")

"""Checkpoints as ``.npz``, with NumPy and zipfile alone: what `numpy.load` reads, uncompressed.

Nothing is taken on trust: before memory is taken, an array's header is compared with the number of
bytes that the file has for it.
"""

from __future__ import annotations

import os
import zipfile
from typing import Any, BinaryIO

import numpy as np

from . import checks

#: The entry with the JSON, as an array of bytes.
TEXT = "microgrand.checkpoint"
#: The date of each entry, so that equal contents are equal files.
DATE = (1980, 1, 1, 0, 0, 0)


def write(file: BinaryIO, arrays: dict[str, Any], text: bytes) -> None:
    """Write arrays by name, and a string."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in {**arrays, TEXT: np.frombuffer(text, np.uint8)}.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", DATE), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def read(file: BinaryIO) -> tuple[dict[str, Any], bytes | None]:
    """Read arrays by name, and the text if there is one."""
    size = os.fstat(file.fileno()).st_size
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > size:
            raise checks.Refused("its entries promise more bytes than the file has")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name == entry.filename or not checks.is_name(name):
                raise checks.Refused(f"its entry {entry.filename!r:.60} is not an array's name")
            if name in arrays:
                raise checks.Refused(f"the name {name!r} occurs twice")
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise checks.Refused(
                    f"{name!r} is compressed or encrypted, and may unpack to anything; of a file "
                    "that you trust, give numpy.load(path) to load_state_dict"
                )
            with archive.open(entry) as stream:
                arrays[name] = read_array(stream, name, entry.file_size)
    text = arrays.pop(TEXT, None)
    return arrays, None if text is None else text.tobytes()


def read_array(stream: Any, name: str, size: int) -> Any:
    """Read one array from an entry of `size` bytes."""
    version = np.lib.format.read_magic(stream)
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in headers:
        raise checks.Refused(f"{name!r} is in version {version} of NumPy's format")
    shape, fortran_order, dtype = headers[version](stream)
    checks.check_dtype(name, dtype)
    checks.check_shape(name, shape, dtype.itemsize, size - stream.tell())
    content = bytearray(size - stream.tell())
    filled = 0
    while part := stream.readinto(memoryview(content)[filled:]):
        filled += part
    if filled < len(content) or stream.read(1):  # at the end, the checksum is compared
        raise checks.Refused(f"{name!r} is cut short")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)

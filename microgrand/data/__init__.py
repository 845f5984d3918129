"""Data to train on: digits that come with the package, MNIST's files, splits and mini-batches.

Images and labels are plain NumPy arrays; their first axis counts the samples.
"""

from __future__ import annotations

import math
import os
import struct
from io import BufferedIOBase
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from ..kinds import Array
from .samples import batches, train_test_split

# Imported where a file is read, as they take long: pathlib, gzip and zlib.
if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Images = NDArray[np.float32]
    Labels = NDArray[np.int64]

__all__ = [
    "batches",
    "load_digits",
    "load_mnist",
    "read_idx",
    "read_labelled",
    "train_test_split",
]

# ---------------------------------------------------------------------------------- data sets


def load_digits() -> tuple[Images, Labels]:
    """Return 1,797 images of handwritten digits, and which digits they show.

    They are the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and
    C. Kaynak (1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0).

    Returns
    -------
    images
        float32 array of shape (1797, 8, 8), from 0 (paper) to 1 (ink).
    labels
        int64 array of shape (1797,), from 0 to 9.

    Examples
    --------
    >>> from microgrand.data import load_digits
    >>> images, labels = load_digits()
    >>> images.shape
    (1797, 8, 8)
    >>> labels[:5]
    array([0, 1, 2, 3, 4])
    """
    with np.load(os.path.join(os.path.dirname(__file__), "digits.npz")) as arrays:
        return np.divide(arrays["images"], 16, dtype=np.float32), arrays["labels"].astype(np.int64)


def load_mnist(folder: str | PathLike[str]) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
    """Read MNIST, or a data set in its format, from four files in a folder.

    The files are ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
    ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``. Each may end in ``.gz``, and
    may have a dot for its second hyphen: ``train-images.idx3-ubyte``.

    Returns
    -------
    (train_images, train_labels), (test_images, test_labels)
        Images are float32 arrays of shape (n, height, width), from 0 (background) to 1;
        labels are int64 arrays of shape (n,).

    Raises
    ------
    FileNotFoundError
        If the folder or one of the files is missing.
    ValueError
        If a file is damaged or holds something else, or if images and labels differ in number.

    Examples
    --------
    >>> from microgrand.data import load_mnist
    >>> (x_train, y_train), (x_test, y_test) = load_mnist("mnist")  # doctest: +SKIP
    """
    from pathlib import Path

    train_images, train_labels, test_images, test_labels = (
        _find(Path(folder), name)
        for name in (
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        )
    )
    return read_labelled(train_images, train_labels), read_labelled(test_images, test_labels)


def _find(folder: Path, name: str) -> Path:
    """Return the path of an MNIST file, however its name is spelled."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; put the four MNIST files into one")
    dotted = name.replace("-idx", ".idx")
    spellings = (name, f"{name}.gz", dotted, f"{dotted}.gz")
    for spelling in spellings:
        if (folder / spelling).is_file():
            return folder / spelling
    # Some programs unpack each file into a folder of its name, hence the slash.
    content = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f" and {len(content) - 20} more" if len(content) > 20 else ""
    raise FileNotFoundError(
        f"{folder} has no file {' or '.join(spellings)}; it holds "
        f"{', '.join(content[:20]) or 'nothing'}{more}"
    )


def read_labelled(
    images_path: str | PathLike[str], labels_path: str | PathLike[str]
) -> tuple[Images, Labels]:
    """Read the images of one idx file and their labels from another.

    Returns
    -------
    images, labels
        As those of `load_mnist`.

    Raises
    ------
    ValueError
        If a file is damaged or holds something else, or if images and labels differ in number.

    Examples
    --------
    >>> from microgrand.data import read_labelled
    >>> x, y = read_labelled("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")  # doctest: +SKIP
    """
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, ndim in ((images_path, images, 3), (labels_path, labels, 1)):
        if array.ndim != ndim or array.dtype != np.uint8:
            raise ValueError(
                f"{path} holds an array of dtype {array.dtype} and shape {array.shape}, expected "
                f"uint8 and {ndim} dimension(s); is it another file under a wrong name?"
            )
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images, but {labels_path} holds {len(labels)} "
            "labels; take both from the same data set"
        )
    return np.divide(images, 255, dtype=np.float32), labels.astype(np.int64)


# --------------------------------------------------------------------------------- idx files

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | PathLike[str]) -> Array:
    """Read one file in the idx format, MNIST's, gzipped or not.

    Such a file consists of two zero bytes, a byte that tells the dtype, a byte that tells the
    number of dimensions, their lengths as 32-bit integers, and the elements in C order; its
    numbers are big-endian (http://yann.lecun.com/exdb/mnist).

    Returns
    -------
    array
        Writable array in the machine's own byte order: uint8, int8, int16, int32, float32 or
        float64.

    Raises
    ------
    ValueError
        If the file is not in this format, is cut short or too long.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from microgrand.data import read_idx
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    ...     read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    import gzip
    import zlib

    with open(path, "rb") as file:
        is_zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            return _read_array(path, gzip.GzipFile(fileobj=file) if is_zipped else file)
        except (OSError, EOFError, zlib.error) as error:
            if not is_zipped:
                raise
            raise ValueError(
                f"{path} is a damaged gzip file ({error}), expected a complete one; "
                "download it again"
            ) from error


def _read_array(path: str | PathLike[str], file: BufferedIOBase) -> Array:
    """Read an idx file, but no more than its header promises: it may unpack to anything."""
    header = file.read(4)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in _IDX_DTYPES:
        known = ", ".join(f"{code:02x}" for code in _IDX_DTYPES)
        raise ValueError(
            f"{path} begins with the bytes {header.hex(' ') or '(none)'}, expected those of "
            f"an idx file: 00 00, a dtype among {known}, and the number of dimensions"
        )
    dtype, ndim = np.dtype(_IDX_DTYPES[header[2]]), header[3]
    lengths = file.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise ValueError(
            f"{path} has {4 + len(lengths)} bytes, expected at least {4 + 4 * ndim} for the header "
            f"of an array of {ndim} dimensions; it is cut short, get a complete copy"
        )
    shape = struct.unpack(f">{ndim}I", lengths)
    expected = math.prod(shape) * dtype.itemsize
    # Read in chunks: the header may claim more than fits in memory.
    content = bytearray()
    while piece := file.read(min(expected + 1 - len(content), 1 << 20)):
        content += piece
    if len(content) != expected:
        start = 4 + 4 * ndim
        got = "more" if len(content) > expected else f"{start + len(content)}"
        raise ValueError(
            f"{path} has {got} bytes, expected {start + expected} for the header and an array of "
            f"dtype {dtype.name} and shape {shape}; it is damaged, get a complete copy"
        )
    try:
        return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:
        raise ValueError(
            f"{path} has a header for shape {shape}, which no array can have ({error}); it is "
            "damaged, get a complete copy"
        ) from error

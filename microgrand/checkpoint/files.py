"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from typing import Any

from . import checks


def replace_file(path: str | os.PathLike[str], write: Callable[[Any], None]) -> None:
    """Write a new file beside an old one; replace that once all of it is on disk.

    A process that is killed at any moment leaves the old file or the new one, and perhaps an
    unfinished one, ``.NAME.*.unfinished``, beside it.

    Parameters
    ----------
    path
        The file's path; of a link, the file that it leads to.
    write
        Called with the new file, open for binary reading and writing.
    """
    target = os.path.realpath(os.fspath(path))
    checks.check_place(target)
    folder, name = os.path.split(target)
    unfinished = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.unfinished")
    try:
        with open(unfinished, "xb+") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(unfinished, os.stat(target).st_mode)
        os.replace(unfinished, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Let the new name of a file survive a loss of power, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

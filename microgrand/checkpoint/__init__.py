"""Checkpoints: a training run in one file, from which it resumes as if never interrupted.

    checkpoint.save("run.npz", model=net, optimizer=optimizer, extra={"epoch": epoch})
    extra = checkpoint.load("run.npz", model=net, optimizer=optimizer)["extra"]

A file holds arrays by name: the model's by their own, so that other programs read them, the rest by
names that begin with ``microgrand.checkpoint.``; and JSON that says what these are (`nests`).
Nothing in it is code, and nothing is pickled. The ending of the file's name selects the format:
``.npz`` (`npz`), or ``.safetensors`` (`safe`) with the extra of that name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import random
from ..nn.module import Module, items_in
from . import checks, files, nests, npz, safe

__all__ = ["load", "save"]

Path = str | os.PathLike[str]

FORMATS: dict[str, Any] = {".npz": npz, ".safetensors": safe}
PREFIX = "microgrand.checkpoint."
PARTS = ("model", "optimizer", "scheduler", "extra")


def save(
    path: Path,
    *,
    model: Module | Mapping[str, Any] | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    extra: Any = None,
) -> None:
    """Write the state of a training run to a file, completely or not at all.

    It is written to a new file in the same folder, which takes the place of an old one when all of
    it is on the disk: whenever the process is killed, the old file or the new one is there.

    Parameters
    ----------
    path
        The file's path; it ends in ``.npz``, or in ``.safetensors`` for the format of that name,
        which needs the extra ``safetensors``.
    model
        A module: its parameters and buffers, by their own names. Or a dict from names to arrays or
        tensors, also PyTorch's, such as its ``state_dict()``.
    optimizer, scheduler
        An optimizer and a scheduler of its learning rate.
    extra
        What else the training needs: None, numbers, strings, arrays, random generators,
        and lists, tuples and dicts of them.

    Raises
    ------
    TypeError, ValueError
        If something cannot be saved. Then no file was written.
    FileNotFoundError, IsADirectoryError
        If the folder does not exist, or `path` is one.
    ModuleNotFoundError
        Without the extra, for ``.safetensors``.

    Notes
    -----
    The states of the library's random generator and of those that modules were given are saved,
    too, so that dropout draws the masks that it would have drawn. The generator that shuffles the
    batches is yours: save it in `extra`. In the middle of an epoch, save it as it was before the
    epoch began, with the number of batches that have been seen.

    Examples
    --------
    A training that can be killed at any moment, and is then started again:

    >>> import copy, itertools, os, tempfile
    >>> import numpy as np
    >>> from microgrand import checkpoint, nn, optim
    >>> from microgrand.data import batches
    >>> x, path = np.ones((8, 3), np.float32), os.path.join(tempfile.mkdtemp(), "run.npz")
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    >>> optimizer = optim.Adam(net.parameters())
    >>> place = {"epoch": 0, "batch": 0, "order": np.random.default_rng(0)}
    >>> if os.path.exists(path):
    ...     place = checkpoint.load(path, model=net, optimizer=optimizer)["extra"]
    >>> for epoch in range(place["epoch"], 2):
    ...     order = copy.deepcopy(place["order"])  # as it is before the epoch
    ...     epoch_batches = batches(x, batch_size=2, rng=order)
    ...     seen = place["batch"]
    ...     for number, (x_batch,) in enumerate(itertools.islice(epoch_batches, seen, None), seen):
    ...         optimizer.zero_grad()
    ...         (net(x_batch) ** 2).mean().backward()
    ...         optimizer.step()
    ...         place["batch"] = number + 1
    ...         checkpoint.save(path, model=net, optimizer=optimizer, extra=place)
    ...     place = {"epoch": epoch + 1, "batch": 0, "order": order}
    >>> checkpoint.load(path)["extra"]["batch"]
    4
    """
    write = FORMATS[checks.format_of(path)].write
    arrays: dict[str, Any] = {}
    content: dict[str, Any] = {"version": 1, "model": model is not None, "random": states_of(model)}
    if isinstance(model, Mapping):
        arrays = checks.plain_arrays(model)
    elif model is not None:
        checks.check_has_state("model", model, "a module or a dict of arrays")
        arrays = dict(model.state_dict())
    checks.check_names(arrays, PREFIX.rstrip("."))
    for name, array in arrays.items():
        checks.check_can_be_saved(name, array)
    for name, owner in ("optimizer", optimizer), ("scheduler", scheduler):
        if owner is not None:
            checks.check_has_state(name, owner, f"one of microgrand.optim's {name}s")
            content[name] = nests.encode(owner.state_dict(), name, arrays, PREFIX)
    content["extra"] = nests.encode(extra, "extra", arrays, PREFIX)
    text = nests.as_text(content)
    files.replace_file(path, lambda file: write(file, arrays, text))


def load(
    path: Path,
    *,
    model: Module | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generators: bool = True,
) -> dict[str, Any]:
    """Read a file that `save` has written, and put its state into a model and an optimizer.

    All or nothing: if anything is refused, nothing has been changed.

    Parameters
    ----------
    path
        The file's path; it ends in ``.npz`` or ``.safetensors``. Files with a model's arrays that
        others have written, such as PyTorch's users with ``safetensors.torch.save_file`` or
        `numpy.savez`, are read, too.
    model, optimizer, scheduler
        What takes its state from the file; it has the same parts as what was saved.
    generators
        Whether to restore the library's random generator and those of the model's modules, too,
        where the file has their states.

    Returns
    -------
    content
        A dict with ``"model"``, the arrays by name, ``"optimizer"`` and ``"scheduler"``, their
        states, and ``"extra"``; None for what the file does not hold.

    Raises
    ------
    ValueError
        If the file is damaged, or not of this kind, or does not fit: truncated files, sizes that
        do not match the file's, pickled objects, compressed entries, names that occur twice or lead
        elsewhere, unknown dtypes.
    FileNotFoundError
        If there is no file.
    ModuleNotFoundError
        Without the extra, for ``.safetensors``.

    Notes
    -----
    bfloat16 numbers become float32, which holds all of them exactly.

    Examples
    --------
    >>> import os, tempfile
    >>> from microgrand import checkpoint, nn
    >>> path = os.path.join(tempfile.mkdtemp(), "net.npz")
    >>> checkpoint.save(path, model=nn.Linear(2, 1), extra={"accuracy": 0.9})
    >>> net = nn.Linear(2, 1)
    >>> content = checkpoint.load(path, model=net)
    >>> content["extra"], list(content["model"])
    ({'accuracy': 0.9}, ['weight', 'bias'])
    """
    read = FORMATS[checks.format_of(path)].read
    owners = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    owners = {name: owner for name, owner in owners.items() if owner is not None}
    for name, owner in owners.items():
        checks.check_has_state(name, owner, f"a {name} of microgrand's")
    with open(path, "rb") as file:
        try:
            content, states = content_of(*read(file))
        except ModuleNotFoundError:
            raise
        except Exception as error:  # whatever a hostile file makes the readers raise
            checks.refuse_file(path, error)
    for name in owners:
        checks.check_part(content[name], name, path)
    try:
        values = {name: owner.values_to_load(content[name]) for name, owner in owners.items()}
        pairs = checked_generators(path, model, states) if generators and owners else []
    except (TypeError, ValueError) as error:
        checks.refuse_file(path, error)
    # From here on, nothing can fail.
    for name, owner in owners.items():
        owner.write_values(values[name])
    for rng, state in pairs:
        rng.bit_generator.state = state
    if pairs and states is not None:
        random.forks = states["forks"]
    return content


def content_of(
    arrays: dict[str, Any], text: bytes | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Sort what was read into parts; also return the states of generators, if there are any."""
    content: dict[str, Any] = dict.fromkeys(PARTS)
    if text is None:  # of another program
        return content | {"model": arrays}, None
    given = nests.from_text(text)
    if not isinstance(given, dict) or given.get("version") != 1:
        raise checks.Refused("it is of another version of microgrand's checkpoints")
    rest = {name: arrays.pop(name) for name in list(arrays) if name.startswith(PREFIX)}
    for name in PARTS[1:]:
        content[name] = nests.decode(given.get(name), rest)
    if rest or (arrays and not given.get("model")):
        raise checks.Refused(f"it holds {next(iter(rest or arrays))!r}, which nothing refers to")
    content["model"] = arrays if given.get("model") else None
    states = given.get("random")
    if not isinstance(states, dict) or type(states.get("forks")) is not int:
        raise checks.Refused("it holds no states of generators")
    return content, states


# ---------------------------------------------------------------------------- random generators


def states_of(model: Any) -> dict[str, Any]:
    """Return the states of the library's generator and of the modules' own."""
    return {
        "library": nests.encode_state(random.default_generator.bit_generator.state),
        "forks": random.forks,
        "modules": {
            name: nests.encode_state(rng.bit_generator.state) for name, rng in generators_in(model)
        },
    }


def generators_in(model: Any) -> Iterator[tuple[str, np.random.Generator]]:
    """Yield the generators that the modules of a model were given, with dotted names."""
    if isinstance(model, Module):
        for prefix, module in model.named_modules():
            for attribute, value in module.attributes():
                for name, item in items_in(attribute, value):
                    if isinstance(item, np.random.Generator):
                        yield f"{prefix}.{name}" if prefix else name, item


def checked_generators(path: Path, model: Any, states: Any) -> list[tuple[Any, Any]]:
    """Return generators with the states to set them to."""
    if states is None:
        return []
    pairs = [(random.default_generator, states.get("library"))]
    if model is not None:
        own = dict(generators_in(model))
        checks.check_generators(path, states.get("modules"), own)
        pairs += [(rng, states["modules"][name]) for name, rng in own.items()]
    return [(rng, nests.checked_state(state, rng.bit_generator)) for rng, state in pairs]

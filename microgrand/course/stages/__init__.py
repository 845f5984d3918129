"""The stages of the course, in their order.

A stage of your own is a file like these: properties with their checks, suspects, hints.
"""

from __future__ import annotations

import importlib
import pkgutil

from ..stage import Fault, Property, Stage, Suspect

FILES = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("s"))

STAGES: dict[int, Stage] = {
    stage.number: stage
    for name in FILES
    for stage in [importlib.import_module(f".{name}", __name__).stage]
}

#: The set of properties: within an edition none is added.
EDITION = 1

__all__ = ["EDITION", "STAGES", "Fault", "Property", "Stage", "Suspect"]

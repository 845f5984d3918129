"""The stages of the course, in their order.

A stage of your own is a file like these: properties with their checks, suspects, hints.
"""

from __future__ import annotations

from ..stage import Fault, Property, Stage, Suspect
from .s01_values import stage as values
from .s02_one_use import stage as one_use
from .s03_many_uses import stage as many_uses
from .s12_dropout import stage as dropout

STAGES: dict[int, Stage] = {stage.number: stage for stage in (values, one_use, many_uses, dropout)}

#: The set of properties: within an edition none is added.
EDITION = 1

__all__ = ["EDITION", "STAGES", "Fault", "Property", "Stage", "Suspect"]

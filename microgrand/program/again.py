"""Speed: small arrays that are handed out are used again when nobody holds them any more.

What a run hands out is new: nobody who has an array of an earlier run sees it change. An array to
which nothing refers any more is as good as new, and there need be no other one. So a program keeps
what it has handed out in its last two runs, and looks at what was handed out in the one before the
last: what that run has put into `grad` is no longer there.
"""

from __future__ import annotations

import sys
from typing import Any

from .calls import Program, Variable

#: If arrays take more bytes than this, none are kept besides what others hold.
MOST_BYTES = 1 << 18

references: Any = getattr(sys, "getrefcount", None)


def references_to_kept() -> int:
    """Return how many references there are to what a list and a variable hold."""
    kept = [object()]
    value = kept[0]
    return int(references(value))


#: The number of references to what nobody else holds; 0 if that cannot be told.
ALONE = (
    references_to_kept() if references and getattr(sys, "_is_gil_enabled", lambda: True)() else 0
)


def used_again(program: Program) -> list[Variable]:
    """Return the arrays that are made for others in each run, if they may be used again."""
    made = [call.result for call in program.fresh]
    return made if ALONE and sum(v.nbytes for v in made) <= MOST_BYTES else []

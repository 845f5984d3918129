"""Mistakes that students make, each one replacement in the course's own framework.

Each must be found at its own stage and at none before, with the cause that is named here in part,
or with none where it is empty.
"""

from .habits import HABITS
from .nets import NETS
from .operators import OPERATORS
from .state import STATE

MUTANTS = [*OPERATORS, *NETS, *STATE, *HABITS]

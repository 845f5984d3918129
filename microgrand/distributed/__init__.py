"""Training by many processes, on one machine or many, over MPI: see `DistributedDataParallel`.

From the moment that this is imported, an exception that ends one process ends all of them.
"""

from . import checks
from .data_parallel import DistributedDataParallel

__all__ = ["DistributedDataParallel"]

checks.abort_on_errors()

"""Pictures of a graph: drawn by `graph`, played forward and backward in a browser by `stepper`."""

from .picture import Picture, graph
from .player import stepper

__all__ = ["Picture", "graph", "stepper"]

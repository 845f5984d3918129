"""Pictures of a graph: drawn by `graph`, played forward and backward in a browser by `stepper`."""

from .picture import Picture, graph
from .player import stepper
from .program import program

__all__ = ["Picture", "graph", "program", "stepper"]

"""From a function to one flat NumPy program: `compile`."""

from .compiled import Compiled, compile

__all__ = ["Compiled", "compile"]

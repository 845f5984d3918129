"""The table: NumPy's functions and their derivatives, one line each.

``defvjp(f, vjp_of_first_argument, ...)``: each VJP gets the cotangent ``g`` of the result, the
result ``out`` and the arguments, and returns the argument's cotangent, g times d out / d argument.
Broadcasting is undone by the engine. VJPs use NumPy functions only, so that they can themselves
be differentiated. Functions that NumPy builds from others are built from ours, by stand-ins.

Conventions where no derivative exists: equal elements that compete (``max``, ``maximum``,
``sort``) share the gradient evenly; ``abs`` has 0 at 0, ``std`` 0 where all elements are equal,
``clip`` 1 at its bounds.
"""

from . import constants, elementwise, products, reductions, shapes

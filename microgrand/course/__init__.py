"""A course: build your own framework, and be told the first thing that is wrong with it.

One file, ``mygrad.py``, grows over sixteen stages. It is graded by properties, which hold for right
code in any style; the first fault is named with its smallest case, and with its cause if there is
evidence for one. ``python -m microgrand.course start`` begins it.
"""

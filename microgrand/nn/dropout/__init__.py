"""Dropout: masks, layers, functions, masks held still, Monte Carlo, and schedules.

Follow a mask: `masks` draws it and zeroes with it, forward and backward; `replay` says where it
comes from; `layers` and `functional` are what a net calls.
"""

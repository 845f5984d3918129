"""The derivative table, entry by entry: values against NumPy, derivatives against differences."""

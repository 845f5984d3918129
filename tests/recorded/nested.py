"""What is nested in what PyTorch is called with and returns, for the recorders and the tests."""


def flat(outputs):
    """List what is in nested tuples and lists; None is left out."""
    if isinstance(outputs, (tuple, list)):
        return [x for output in outputs if output is not None for x in flat(output)]
    return [outputs]


def as_tuple(value):
    """Make a tuple of a list: JSON has no tuples, and layers want them."""
    return tuple(value) if isinstance(value, list) else value

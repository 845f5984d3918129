"""What training needs besides modules, under PyTorch's names."""

from . import rnn
from .parameters import (
    clip_grad_norm_,
    clip_grad_value_,
    functional_call,
    parameters_to_vector,
    vector_to_parameters,
)

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "functional_call",
    "parameters_to_vector",
    "rnn",
    "vector_to_parameters",
]

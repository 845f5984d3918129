"""Neural networks: modules that hold parameters, and the functions they apply."""

from . import functional
from .dropout import (
    AlphaDropout,
    DropConnect,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    DropPath,
    FeatureAlphaDropout,
    GaussianDropout,
    WordDropout,
)
from .dropout_masks import DropoutMasks
from .modules import (
    CrossEntropyLoss,
    Linear,
    Module,
    MSELoss,
    Parameter,
    ReLU,
)
from .monte_carlo import mc_dropout
from .schedules import cosine_schedule, curriculum_schedule, linear_schedule, set_dropout
from .sequential import Sequential

__all__ = [
    "AlphaDropout",
    "CrossEntropyLoss",
    "DropConnect",
    "DropPath",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "DropoutMasks",
    "FeatureAlphaDropout",
    "GaussianDropout",
    "Linear",
    "MSELoss",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "WordDropout",
    "cosine_schedule",
    "curriculum_schedule",
    "functional",
    "linear_schedule",
    "mc_dropout",
    "set_dropout",
]

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
    "functional",
]

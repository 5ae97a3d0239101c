"""The gradient of each operator that a head may hold."""

from lightcl_host.autodiff.rules import (  # noqa: F401  # imported for the rules they register
    activation,
    arithmetic,
    conv,
    conv_transpose,
    gather,
    linear,
    maxpool,
    normalization,
    pool,
    reduction,
    resize,
    shape,
    slice,
    smooth,
)
from lightcl_host.autodiff.rules.registry import RULES

__all__ = ["RULES"]

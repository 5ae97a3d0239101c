"""The gradient of each operator that a head may hold."""

from lightcl_host.autodiff.rules import (  # noqa: F401  # imported for the rules they register
    activation,
    arithmetic,
    conv,
    linear,
    maxpool,
    pool,
    shape,
    slice,
)
from lightcl_host.autodiff.rules.registry import RULES

__all__ = ["RULES"]

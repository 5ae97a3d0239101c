"""Reverse-mode differentiation of an ONNX graph into another ONNX graph of standard inference operators."""

from lightcl_host.autodiff import (  # noqa: F401  # imported for the rules they register
    rules_activation,
    rules_arithmetic,
    rules_conv,
    rules_linear,
    rules_maxpool,
    rules_pool,
    rules_shape,
    rules_slice,
)
from lightcl_host.autodiff.registry import RULES

#: Operator types whose gradient is known; a trained graph may hold no other on the way to its parameters.
TRAINABLE_OPERATORS = frozenset(RULES)

__all__ = ["RULES", "TRAINABLE_OPERATORS"]

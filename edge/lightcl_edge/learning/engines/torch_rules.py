"""What each ONNX operator computes, written in torch."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own customary name

from lightcl_edge.learning.engines.torch_arrangements import ARRANGEMENTS
from lightcl_edge.learning.engines.torch_node import Node, Rule, Tensor
from lightcl_edge.learning.engines.torch_normalizations import NORMALIZATIONS
from lightcl_edge.learning.engines.torch_windows import WINDOWS


def _gemm(node: Node, left: Tensor, right: Tensor, added: Tensor | None = None) -> Tensor:
    given = node.attributes
    left = left.T if given.get("transA", 0) else left
    right = right.T if given.get("transB", 0) else right
    product: Tensor = (left @ right) * given.get("alpha", 1.0)
    return product if added is None else product + added * given.get("beta", 1.0)


def _clip(_: Node, value: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    bounds = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    # on a bound it passes no gradient, as in ReLU6 and in the step graphs; torch.clamp does
    return value if bounds == (-math.inf, math.inf) else F.hardtanh(value, *bounds)


def _hard_sigmoid(node: Node, value: Tensor) -> Tensor:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return F.hardtanh(value * alpha + beta, 0.0, 1.0)


def _gelu(node: Node, value: Tensor) -> Tensor:
    return F.gelu(value, approximate=node.attributes.get("approximate", b"none").decode())


def _pow(_: Node, value: Tensor, exponent: Tensor) -> Tensor:
    return value ** exponent.to(value.dtype)


def _prelu(_: Node, value: Tensor, slope: Tensor) -> Tensor:
    return torch.where(value > 0, value, value * slope)


_ELEMENTWISE: dict[str, Rule] = {
    "Abs": lambda _, value: torch.abs(value),
    "Add": lambda _, left, right: left + right,
    "And": lambda _, left, right: left & right,
    "Clip": _clip,
    "Div": lambda _, left, right: left / right,
    "Elu": lambda node, value: F.elu(value, node.attributes.get("alpha", 1.0)),
    "Equal": lambda _, left, right: left == right,
    "Erf": lambda _, value: torch.erf(value),
    "Exp": lambda _, value: torch.exp(value),
    "Gelu": _gelu,
    "Greater": lambda _, left, right: left > right,
    "GreaterOrEqual": lambda _, left, right: left >= right,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda _, value: F.hardswish(value),
    "LeakyRelu": lambda node, value: F.leaky_relu(value, node.attributes.get("alpha", 0.01)),
    "Less": lambda _, left, right: left < right,
    "LessOrEqual": lambda _, left, right: left <= right,
    "Log": lambda _, value: torch.log(value),
    "Max": lambda _, left, right: torch.maximum(left, right),
    "Min": lambda _, left, right: torch.minimum(left, right),
    "Mish": lambda _, value: F.mish(value),
    "Mul": lambda _, left, right: left * right,
    "Neg": lambda _, value: -value,
    "Not": lambda _, value: ~value,
    "Or": lambda _, left, right: left | right,
    "PRelu": _prelu,
    "Pow": _pow,
    "Reciprocal": lambda _, value: 1.0 / value,
    "Relu": lambda _, value: torch.relu(value),
    "Sigmoid": lambda _, value: torch.sigmoid(value),
    "Softplus": lambda _, value: F.softplus(value),
    "Sqrt": lambda _, value: torch.sqrt(value),
    "Sub": lambda _, left, right: left - right,
    "Tanh": lambda _, value: torch.tanh(value),
    "Where": lambda _, condition, left, right: torch.where(condition, left, right),
}
_PRODUCTS: dict[str, Rule] = {"Gemm": _gemm, "MatMul": lambda _, left, right: left @ right}

RULES: dict[str, Rule] = _ELEMENTWISE | _PRODUCTS | ARRANGEMENTS | NORMALIZATIONS | WINDOWS

"""One operator of a graph, and how a rule for it is called."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Tensor = torch.Tensor


@dataclass(frozen=True)
class Node:
    """One operator of a graph; an input that is left out has an empty name."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]  # only those that the file sets


#: Takes the node and its input tensors, None for one that is left out; gives a tensor, or several.
Rule = Callable[..., Any]


def axes_of(node: Node, axes: Tensor | None) -> list[int]:
    """Axes as an input, or as an attribute in older opsets."""
    return list(node.attributes.get("axes", [])) if axes is None else [int(axis) for axis in axes.tolist()]

"""What a graph does to its pixels before the first layer, and so which pixels it expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_host.graphs.graph import GraphView, to_array

if TYPE_CHECKING:
    import onnx

Doubles = NDArray[np.float64]
#: A gather or slice swaps red and blue, or crops.
_PASSED = frozenset({"Identity", "Cast", "Transpose", "Dropout", "Gather", "Slice"})
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
#: Pixels in 0..255 are divided by at least this much, or shifted by as much; pixels in 0..1 by far less.
_BYTES = 10.0


@dataclass(frozen=True)
class Preprocessing:
    """``factor * pixel + shift`` at the start of a graph, each of one number or three."""

    factor: Doubles
    shift: Doubles

    @property
    def largest_pixel(self) -> float:
        """255 or 1: which range of pixels such numbers make small."""
        scale = 1 / np.abs(self.factor).max()
        return 255.0 if max(scale, float(np.abs(self.shift / self.factor).max())) > _BYTES else 1.0

    def describe(self) -> str:
        """As a formula for people."""
        std, mean = 1 / self.factor, 0.0 - self.shift / self.factor
        numbers = [", ".join(f"{value:.4g}" for value in np.unique(part)) for part in (mean, std)]
        return f"(pixel - {numbers[0]}) / {numbers[1]}"


def preprocessing_of(model: onnx.ModelProto) -> Preprocessing | None:
    """The arithmetic with constants between the image and the first layer; None where there is none."""
    view = GraphView(model)
    tensor, found = view.graph.input[0].name, False
    factor, shift = np.ones(1), np.zeros(1)
    while len(view.consumers.get(tensor, [])) == 1:
        node = view.graph.node[view.consumers[tensor][0]]
        if node.op_type in _ARITHMETIC:
            step = _step(view, node)
            if step is None:
                break
            factor, shift, found = factor * step[0], shift * step[0] + step[1], True
        elif node.op_type not in _PASSED:
            break
        tensor = node.output[0]
    return Preprocessing(factor, shift) if found and np.all(factor != 0) else None


def _step(view: GraphView, node: onnx.NodeProto) -> tuple[Doubles, Doubles] | None:
    """The node as a factor and a shift; None where it is no arithmetic with a constant a channel."""
    place = next((index for index, name in enumerate(node.input) if name in view.weights), None)
    if place is None or (node.op_type == "Div" and place == 0):
        return None
    values = to_array(view.weights[node.input[place]]).astype(np.float64).reshape(-1)
    if values.size not in (1, 3):
        return None
    one, none = np.ones(1), np.zeros(1)
    if node.op_type == "Mul":
        return values, none
    if node.op_type == "Div":
        return (1 / values, none) if np.all(values != 0) else None
    if node.op_type == "Add":
        return one, values
    return (one, -values) if place == 1 else (-one, values)

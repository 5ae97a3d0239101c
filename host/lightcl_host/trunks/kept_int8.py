"""A trunk in the eight bits that its file already had, with the same scales and the same stored weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import GraphView, drop_unused, replace_all, to_array, to_tensor
from lightcl_host.graphs.shapes import infer_shapes
from lightcl_host.sources.normalising.dequantisation import MOVING, Quantisation, Scale, StoredWeight

if TYPE_CHECKING:
    import onnx

#: Opset 20 quantises to these; 16 bits came with opset 21.
_ACTIVATIONS = frozenset({"int8", "uint8"})
_WEIGHTS = _ACTIVATIONS | {"int32"}
_LAYERS = frozenset({"Conv", "MatMul", "Gemm"})
_MATRIX = 2


def keep_quantisation(trunk: onnx.ModelProto, quantisation: Quantisation, cut: str) -> tuple[onnx.ModelProto, int, int]:
    """The float trunk with the file's own quantisation.

    Args:
        cut: the tensor that became the features; the record knows it by this name.

    Returns:
        The trunk, how many of its convolutions and products have both inputs in eight bits, and how many there are.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(trunk)
    known = quantisation.activations
    scales = {name: scale for name, scale in known.items() if str(scale.zero_point.dtype) in _ACTIVATIONS}
    if cut in scales:
        scales[FEATURES] = scales[cut]
    writer = _Writer(model.graph, scales, quantisation.weights)
    if IMAGE in scales:
        writer.wrap(IMAGE, IMAGE, f"{IMAGE}.kept")
    view = GraphView(trunk)
    for node in model.graph.node:
        moved = node.op_type in MOVING and scales.get(node.input[0]) is scales.get(node.output[0])
        writer.add(node, wrapped=not moved and node.output[0] in view.activations)
    replace_all(model.graph.node, writer.nodes)
    drop_unused(model.graph)
    made = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in model.graph.node if node.op_type in _LAYERS]
    kept = sum(all(name in made for name in node.input[:2]) for node in layers)
    del model.graph.value_info[:]
    return infer_shapes(model), kept, len(layers)


class _Writer:
    """Writes the nodes anew, with pairs of QuantizeLinear and DequantizeLinear after them."""

    def __init__(self, graph: onnx.GraphProto, scales: Mapping[str, Scale], weights: list[StoredWeight]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._scales = graph, scales
        self._renamed: dict[str, str] = {}
        self._floats = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == 1 and tensor.dims}
        self._stored: dict[tuple[tuple[int, ...], bytes], StoredWeight] = {}
        for weight in weights:
            if str(weight.stored.dtype) in _WEIGHTS:
                self._stored[_key(weight.real)] = weight
                if weight.real.ndim == _MATRIX:
                    self._stored.setdefault(_key(weight.real.T), _transposed(weight))

    def add(self, node: onnx.NodeProto, *, wrapped: bool) -> None:
        """A node of the float trunk; ``wrapped`` where its first output may be quantised."""
        for index, name in enumerate(node.input):
            if name in self._floats and name not in self._renamed:
                self._weight(name)
            node.input[index] = self._renamed.get(name, name)
        self.nodes.append(node)
        out = node.output[0]
        if wrapped and out in self._scales:
            real, after = (f"{out}.real", out) if out == FEATURES else (out, f"{out}.kept")
            node.output[0] = real
            self.wrap(out, real, after)

    def wrap(self, name: str, real: str, after: str) -> None:
        """Quantise the activation ``name``: from the tensor ``real`` to the tensor ``after``."""
        import onnx

        scale = self._scales[name]
        stored, inputs = f"{name}.stored", self._constants(name, scale)
        for kind, source, result in (("QuantizeLinear", real, stored), ("DequantizeLinear", stored, after)):
            self.nodes.append(onnx.helper.make_node(kind, [source, *inputs], [result], axis=scale.axis))
        self._renamed[name] = after

    def _weight(self, name: str) -> None:
        import onnx

        weight = self._stored.get(_key(to_array(self._floats[name]).astype(np.float32)))
        if weight is None:
            return
        self._graph.initializer.append(to_tensor(weight.stored, f"{name}.stored"))
        inputs = [f"{name}.stored", *self._constants(name, weight.scale)]
        self.nodes.append(onnx.helper.make_node("DequantizeLinear", inputs, [f"{name}.kept"], axis=weight.scale.axis))
        self._renamed[name] = f"{name}.kept"

    def _constants(self, name: str, scale: Scale) -> list[str]:
        made = {f"{name}.scale": scale.scale, f"{name}.zero_point": scale.zero_point}
        self._graph.initializer.extend(to_tensor(values, key) for key, values in made.items())
        return list(made)


def _key(values: FloatArray) -> tuple[tuple[int, ...], bytes]:
    return values.shape, np.ascontiguousarray(values).tobytes()


def _transposed(weight: StoredWeight) -> StoredWeight:
    scale = Scale(weight.scale.scale, weight.scale.zero_point, 1 - weight.scale.axis)
    return StoredWeight(weight.real.T, np.ascontiguousarray(weight.stored.T), scale)

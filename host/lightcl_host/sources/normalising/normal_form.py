"""One form for every graph: constants lifted, batch norm folded, batch axis free, a linear classifier last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import IMAGE, LOGITS
from lightcl_edge.errors import UsageError
from lightcl_host.graphs.graph import (
    IR_VERSION,
    OPSET,
    GraphView,
    drop_unused,
    rename_tensors,
    replace_all,
    to_array,
    to_tensor,
)
from lightcl_host.graphs.module_paths import copy_module_path, module_path, remember_module_path
from lightcl_host.graphs.shapes import infer_shapes
from lightcl_host.sources.normalising.linear_end import end_in_linear_layer
from lightcl_host.sources.normalising.simplification import drop_without_effect

if TYPE_CHECKING:
    import onnx

#: Exporters store constants up to about this size once; larger ones are shared because the network shares them.
_SHARED = 4096
_TRANSPARENT = frozenset({"Identity", "Dropout"})


def to_normal_form(model: onnx.ModelProto, *, fold_batch_norm: bool = True) -> onnx.ModelProto:
    """Bring an exported graph into the form that all other modules work on.

    Args:
        model: opset 20, one image input of shape ``(batch, 3, height, width)``, batch axis free; changed in place.

    Returns:
        The shape-inferred model: input ``image`` ``(batch, 3, height, width)``, output ``logits``.

    Raises:
        UsageError: when shapes do not fit or the output is no vector for each image.
    """
    graph = model.graph
    for node in graph.node:
        remember_module_path(node)
    _lift_constants(graph)
    _drop_transparent(graph)
    drop_unused(graph)
    _part_shared(graph)
    infer_shapes(model)
    drop_without_effect(model)
    if fold_batch_norm:
        _replace_batch_norm(model)
    infer_shapes(model)
    end_in_linear_layer(model)
    rename_tensors(graph, {graph.input[0].name: IMAGE, graph.output[0].name: LOGITS})
    _clean_header(model)
    return infer_shapes(model)


def _clean_header(model: onnx.ModelProto) -> None:
    """Set fixed versions, and delete the exporter's notes, which hold paths of the exporting machine."""
    import onnx

    model.ir_version = IR_VERSION
    replace_all(model.opset_import, [onnx.helper.make_opsetid("", OPSET)])
    del model.metadata_props[:], model.functions[:], model.graph.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "lightcl-host", "", ""
    model.graph.name, model.graph.doc_string = "network", ""
    for info in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        info.doc_string = ""
        del info.metadata_props[:]


def _lift_constants(graph: onnx.GraphProto) -> None:
    graph.initializer.extend(_constant(node) for node in graph.node if node.op_type == "Constant")
    replace_all(graph.node, [node for node in graph.node if node.op_type != "Constant"])


def _constant(node: onnx.NodeProto) -> onnx.TensorProto:
    import onnx

    entry = node.attribute[0]
    value = onnx.helper.get_attribute_value(entry)
    if entry.name == "value":
        return to_tensor(to_array(value), node.output[0])
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if entry.name not in kinds:
        raise UsageError(f"the graph holds a constant of kind {entry.name}; expected numbers")
    return to_tensor(np.array(value, kinds[entry.name]), node.output[0])


def _drop_transparent(graph: onnx.GraphProto) -> None:
    """Remove nodes that do nothing in inference."""
    names: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
        if node.op_type in _TRANSPARENT:
            names[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    replace_all(graph.node, kept)
    graph.output[0].name = names.get(graph.output[0].name, graph.output[0].name)


def _part_shared(graph: onnx.GraphProto) -> None:
    """Give each layer its own small constants: exporters store equal ones once, such as biases that are still zero."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        for index, name in enumerate(node.input):
            shared = name in taken and name in weights and weights[name].data_type == 1 and len(weights[name].dims) > 0
            if shared and np.prod(weights[name].dims, dtype=np.int64) <= _SHARED:
                node.input[index] = f"{name}.{number}.{index}"
                graph.initializer.append(to_tensor(to_array(weights[name]), node.input[index]))
            taken.add(name)


def _replace_batch_norm(model: onnx.ModelProto) -> None:
    """Write batch normalisation that no convolution absorbed as ``x * scale + shift``."""
    import onnx

    graph, view = model.graph, GraphView(model)
    weights = view.weights
    kept = []
    for node in graph.node:
        if node.op_type != "BatchNormalization" or any(name not in weights for name in node.input[1:5]):
            kept.append(node)
            continue
        gamma, beta, mean, variance = (to_array(weights[name]).astype(np.float64) for name in node.input[1:5])
        epsilon = next((entry.f for entry in node.attribute if entry.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(variance + epsilon)
        shift = beta - mean * scale
        name, ones = node.output[0], (1,) * (len(view.dims.get(node.input[0], (1,) * 4)) - 2)
        for suffix, values in (("_scale", scale), ("_shift", shift)):
            graph.initializer.append(to_tensor(values.astype(np.float32).reshape(-1, *ones), name + suffix))
        for made in (
            onnx.helper.make_node("Mul", [node.input[0], f"{name}_scale"], [f"{name}_scaled"]),
            onnx.helper.make_node("Add", [f"{name}_scaled", f"{name}_shift"], [name]),
        ):
            copy_module_path(module_path(node), made)
            kept.append(made)
    replace_all(graph.node, kept)

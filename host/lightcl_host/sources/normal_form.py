"""One form for every graph: constants lifted, batch norm folded, batch axis free, a linear classifier last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import IMAGE, LOGITS
from lightcl_edge.errors import UsageError
from lightcl_host.graphs.graph import IR_VERSION, OPSET, drop_unused, rename_tensors, replace_all, to_array, to_tensor
from lightcl_host.graphs.module_paths import copy_module_path, module_path, remember_module_path
from lightcl_host.sources.free_batch import free_batch

if TYPE_CHECKING:
    import onnx

_TRANSPARENT = frozenset({"Identity", "Dropout"})


def to_normal_form(model: onnx.ModelProto, *, fold_batch_norm: bool = True) -> onnx.ModelProto:
    """Bring an exported graph into the form that all other modules work on.

    Args:
        model: opset 20, one image input of shape ``(1, 3, height, width)``; changed in place.

    Returns:
        The shape-inferred model: input ``image`` ``(batch, 3, height, width)``, output ``logits``.

    Raises:
        UsageError: when the graph can't run with more than one image at a time.
    """
    graph = model.graph
    for node in graph.node:
        remember_module_path(node)
    _lift_constants(graph)
    _drop_transparent(graph)
    if fold_batch_norm:
        _replace_batch_norm(graph)
    drop_unused(graph)
    _linear_as_gemm(graph)
    rename_tensors(graph, {graph.input[0].name: IMAGE, graph.output[0].name: LOGITS})
    _clean_header(model)
    return free_batch(model)


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


def _replace_batch_norm(graph: onnx.GraphProto) -> None:
    """Write batch normalisation that no convolution absorbed as ``x * scale + shift``."""
    import onnx

    weights = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type != "BatchNormalization" or any(name not in weights for name in node.input[1:5]):
            kept.append(node)
            continue
        gamma, beta, mean, variance = (to_array(weights[name]).astype(np.float64) for name in node.input[1:5])
        epsilon = next((entry.f for entry in node.attribute if entry.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(variance + epsilon)
        shift = beta - mean * scale
        name = node.output[0]
        for suffix, values in (("_scale", scale), ("_shift", shift)):
            graph.initializer.append(to_tensor(values.astype(np.float32).reshape(-1, 1, 1), name + suffix))
        for made in (
            onnx.helper.make_node("Mul", [node.input[0], f"{name}_scale"], [f"{name}_scaled"]),
            onnx.helper.make_node("Add", [f"{name}_scaled", f"{name}_shift"], [name]),
        ):
            copy_module_path(module_path(node), made)
            kept.append(made)
    replace_all(graph.node, kept)


def _linear_as_gemm(graph: onnx.GraphProto) -> None:
    """Write the last ``MatMul`` (and ``Add``) as one ``Gemm``, which is how the classifier is found."""
    import onnx

    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = list(graph.node)
    last, bias = nodes[-1], None
    if last.op_type == "Add" and len(nodes) > 1 and nodes[-2].op_type == "MatMul":
        constants = [name for name in last.input if name in weights and len(weights[name].dims) == 1]
        if not constants or nodes[-2].output[0] not in last.input:
            return
        bias, last = constants[0], nodes[-2]
        nodes.pop()
    if last.op_type != "MatMul" or last.input[1] not in weights or len(weights[last.input[1]].dims) != 2:
        return
    nodes.pop()
    inputs = [*last.input, *([bias] if bias else [])]
    gemm = onnx.helper.make_node("Gemm", inputs, [graph.output[0].name])
    copy_module_path(module_path(last), gemm)
    replace_all(graph.node, [*nodes, gemm])

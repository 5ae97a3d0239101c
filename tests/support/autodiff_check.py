"""Compares the gradient rules of single operators, and the same operators in torch, with PyTorch autograd."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lightcl_edge.bundle.graph_names import position_name
from lightcl_edge.learning.engines.torch_graph import load_module
from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.loss import PatternTerms
from lightcl_host.autodiff.sgd_update import Updater, update_hazards
from lightcl_host.autodiff.sweep import Sweep, check_trainable, emit_forward

Array = NDArray[Any]


def graph_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Array],
    constants: dict[str, Array],
    output: str = "y",
    opset: int = 20,
) -> onnx.ModelProto:
    """A model of some nodes; its first input's first axis is the batch."""
    values = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in inputs.items()]
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "rule", values, [result], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run_rule(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Array],
    constants: dict[str, Array],
    upstream: Array | None,
    wanted: Sequence[str],
    opset: int = 20,
) -> tuple[Array, dict[str, Array], Array]:
    """The output of some nodes and its gradients; a random upstream gradient unless one is given."""
    model = graph_of(nodes, inputs, constants, opset=opset)
    graph = GraphBuilder(model, next(iter(inputs.values())).shape[0], wanted)
    graph.keep_only(["y"])
    check_trainable(graph, wanted)
    if upstream is None:
        upstream = np.random.default_rng(7).standard_normal(graph.shape("y")).astype(np.float32)
    terms, updater = PatternTerms(graph, [], 0, 0), Updater(graph, in_place=False)
    emit_forward(graph, wanted, terms)
    Sweep(graph, wanted, terms, updater).run("y", "upstream")
    whole = {name: value for name, value in inputs.items() if name not in graph.positions}
    memory = {name: np.ones_like(value) for name, value in inputs.items() if name in wanted}
    pieces = {name: value for name, value in memory.items() if name in whole}
    for name, positions in graph.positions.items():  # as the engine holds them: a matrix for each position
        columns = inputs[name].shape[3]
        for position in positions:
            at = np.s_[:, :, position // columns, position % columns]
            whole[position_name(name, position)] = np.ascontiguousarray(inputs[name][at])
            pieces[position_name(name, position)] = memory[name][at]
    feeds = {**whole, "upstream": upstream}
    feeds |= {f"accumulator.{name}": np.ascontiguousarray(value) for name, value in pieces.items()}
    values = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in feeds.items()]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ["y", *updater.outputs]]
    stored = [numpy_helper.from_array(value, name) for name, value in graph.values.items()]
    body = helper.make_graph(graph.nodes, "gradient", values, results, stored)
    step = helper.make_model(body, opset_imports=model.opset_import, ir_version=10)
    assert update_hazards(step) == []
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(step.SerializeToString(), options, providers=["CPUExecutionProvider"])
    output, *updates = session.run(None, feeds)
    for name, value in zip(updater.outputs, updates, strict=True):
        piece = pieces[name.split(".", 2)[2]]
        piece[...] = value.reshape(piece.shape)
    found = {name: memory[name] - 1 for name in sorted(updater.updated)}  # the accumulators started at 1
    return output, found, upstream


def run_in_torch(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Array],
    constants: dict[str, Array],
    upstream: Array,
    wanted: Sequence[str],
    opset: int,
) -> tuple[Array, dict[str, Array]]:
    """The same as :func:`run_rule`, as the torch engine computes it."""
    first, *others = inputs
    model = graph_of(nodes, {first: inputs[first]}, constants | {name: inputs[name] for name in others}, opset=opset)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        module = load_module(Path(file.name), [name for name in others if name in wanted])
    given = torch.tensor(inputs[first], requires_grad=first in wanted)
    output = module(given)["y"]
    output.backward(torch.from_numpy(upstream))
    tensors = {first: given, **module.named_tensors()}
    gradients = {name: tensors[name].grad for name in wanted}
    return output.detach().numpy(), {k: v.numpy() for k, v in gradients.items() if v is not None}


def check_rule(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Array],
    reference: Callable[..., torch.Tensor],
    *,
    constants: dict[str, Array] | None = None,
    wanted: Sequence[str] | None = None,
    upstream: Array | None = None,
    tolerance: float = 1e-4,
    opset: int = 20,
) -> None:
    """Compare output and gradients of both engines with ``reference(*inputs)`` under PyTorch autograd in float64."""
    wanted = list(inputs) if wanted is None else list(wanted)
    output, gradients, given = run_rule(nodes, inputs, constants or {}, upstream, wanted, opset)
    torch_output, torch_gradients = run_in_torch(nodes, inputs, constants or {}, given, wanted, opset)
    tensors = {k: torch.tensor(v, dtype=torch.float64, requires_grad=k in wanted) for k, v in inputs.items()}
    expected = reference(*tensors.values())
    _close("output", output, expected.detach().numpy(), tolerance)
    expected.backward(torch.tensor(given, dtype=torch.float64))
    _close("output in torch", torch_output, expected.detach().numpy(), tolerance)
    assert set(gradients) == set(torch_gradients) == set(wanted)
    for name in wanted:
        _close(f"gradient of {name}", gradients[name], tensors[name].grad.numpy(), tolerance)
        _close(f"gradient of {name} in torch", torch_gradients[name], tensors[name].grad.numpy(), tolerance)


def _close(what: str, found: Array, expected: Array, tolerance: float) -> None:
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    difference = float(np.abs(found - expected).max(initial=0)) / scale
    assert difference <= tolerance, f"{what} differs by {difference:.3g}, at most {tolerance:.3g} allowed"


def node(kind: str, inputs: Sequence[str], output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node of one output."""
    return helper.make_node(kind, list(inputs), [output], **attributes)


def normal(seed: int, *shape: int) -> Array:
    """Seeded normal values, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

"""The training step of a head as one ONNX graph of standard inference operators.

A step graph computes the loss of a batch, differentiates it in reverse mode and writes the update of every parameter.
Stock onnxruntime runs it; no training package is needed. The weights are inputs, so a graph is small. All shapes are
static: ``n`` new samples and ``m`` buffered ones.

Inputs (float32 unless said):

| name | shape | meaning |
|---|---|---|
| ``features`` | ``(n, *feature_shape)`` | new samples; only where ``m`` is 0 |
| ``features.new``, ``features.buffered`` | ``(n, ...)``, ``(m, ...)`` | new and buffered samples, where it is not |
| ``labels`` | ``(n,)`` int64 | rows of the classifier |
| ``logit_offset`` | ``(n, capacity)`` | added to the logits before the softmax; ``MASKED_LOGIT`` leaves a class out |
| ``weights`` | ``(n,)`` | share of each sample in the cross entropy; 0 pads a short batch |
| ``target.<t>`` | ``(m, *shape of t)`` | patterns, for each pattern tensor ``t`` of the head |
| ``mask.<t>`` | ``(channels of t,)`` | 1 for held channels |
| ``pattern_weight`` | ``(m,)`` | 1 for a buffered sample, 0 pads |
| ``beta`` | ``(1,)`` | weight of the pattern term |
| ``neg_lr`` | ``(1,)`` | minus the learning rate (``in_place`` only) |
| ``zero`` | ``(1,)`` | always 0; carries the order of in-place updates (``in_place`` only) |
| ``<parameter>`` | its shape | each trained parameter, except kernels taken by position |
| ``<kernel>@<t>`` | ``(filters, channels)`` | position ``t`` of a dense kernel, counted row by row |
| ``accumulator.<input>`` | its shape | gradient sums so far, of each of the above (``accumulate`` only) |

The pattern inputs are missing where ``m`` is 0, and so is a kernel position that only ever meets padding. Outputs:
``loss`` (scalar) and ``update.0.<parameter or position>``, to be bound onto the memory of the parameter (``in_place``)
or of its accumulator (``accumulate``). An update may have the parameter's values in two dimensions.

A ``forward`` graph computes ``logits``, ``penultimate``, the patterns and ``taps`` of any number of rows from
``features`` and the parameters, so that a device evaluates its head without a second copy of the weights. Where kernels
are taken by position, an ``evaluate`` graph does the same with their positions and a stated number of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx
from onnx import TensorProto, helper, shape_inference

from lightcl_edge.bundle.graph_names import (
    ACCUMULATE,
    EVALUATE,
    FEATURES,
    FORWARD,
    FORWARD_ROWS,
    IN_PLACE,
    LOGITS,
    PENULTIMATE,
    TAPS,
    position_name,
)
from lightcl_edge.bundle.manifest import HeadInfo, StepGraph
from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.layout import save_transposes
from lightcl_host.autodiff.liveness import peak_bytes
from lightcl_host.autodiff.loss import PatternTerms, cross_entropy
from lightcl_host.autodiff.scalars import flatten_scalar_operations
from lightcl_host.autodiff.sgd_update import ACCUMULATOR_PREFIX, Updater, ancestors_of, update_hazards
from lightcl_host.autodiff.shuffles import name_shuffled_channels
from lightcl_host.autodiff.sweep import Sweep, check_trainable, emit_forward

#: Where gradients are accumulated, a batch is divided into this many micro-batches. Few parts take less time, many take
#: less memory. On EfficientNet-Lite0's last blocks, 4 parts take 0.20 s a step and 16 MiB of activations; 16 parts take
#: 0.30 s and 4 MiB.
MICRO_BATCHES = (4, 16)


def build_step(
    head: onnx.ModelProto, info: HeadInfo, samples: int, buffered_samples: int, *, in_place: bool
) -> onnx.ModelProto:
    """Differentiate a head for one batch geometry.

    Raises:
        BundleError: when the head holds an operator that can't be trained through.
    """
    names = [parameter.name for parameter in info.parameters]
    patterns = list(info.patterns) if buffered_samples else []
    graph = GraphBuilder(head, samples + buffered_samples, names)
    graph.keep_only([LOGITS, *patterns])
    if graph.shape(LOGITS) != (samples + buffered_samples, info.capacity):
        raise BundleError(
            f"head.onnx: {samples + buffered_samples} rows of features give logits of shape "
            f"{graph.shape(LOGITS)}, expected a row for each and {info.capacity} columns"
        )
    check_trainable(graph, names)
    if buffered_samples:
        graph.divide_features()
    terms = PatternTerms(graph, patterns, samples, buffered_samples)
    updater = Updater(graph, in_place=in_place)
    emit_forward(graph, names, terms)
    loss, gradient = cross_entropy(graph, samples, buffered_samples, info.capacity)
    Sweep(graph, names, terms, updater).run(LOGITS, gradient)
    for term in terms.doubled_terms:
        loss = graph.op("Add", loss, graph.op("Mul", term, graph.constant(0.5)))
    graph.op("Identity", loss, output="loss")
    inputs = _inputs(graph, info, samples, buffered_samples, in_place=in_place)
    model = _finish(graph, inputs, ["loss", *updater.outputs], head)
    hazards = update_hazards(model)
    if hazards or updater.updated != set(names):
        problem = hazards[0] if hazards else f"no gradient reaches {sorted(set(names) - updater.updated)[0]!r}"
        raise BundleError(f"head.onnx can't be trained in one graph: {problem}")
    return model


def _inputs(
    graph: GraphBuilder, info: HeadInfo, samples: int, buffered: int, *, in_place: bool
) -> list[onnx.ValueInfoProto]:
    """The step's inputs, as the module's table lists them."""
    sides = graph.shape(FEATURES)[1:]
    rows = [samples, buffered] if buffered else [samples]
    shapes: dict[str, Sequence[int]] = {
        **{name: [count, *sides] for name, count in zip(graph.feature_parts, rows, strict=True)},
        "logit_offset": [samples, info.capacity],
        "weights": [samples],
    }
    if buffered:
        for name in info.patterns:
            shapes[f"target.{name}"] = [buffered, *graph.shape(name)[1:]]
            shapes[f"mask.{name}"] = [graph.shape(name)[1]]
        shapes |= {"pattern_weight": [buffered], "beta": [1]}
    if in_place:
        shapes |= {"neg_lr": [1], "zero": [1]}
    pieces = _pieces(graph, info)
    shapes |= pieces
    if not in_place:
        shapes |= {ACCUMULATOR_PREFIX + name: shape for name, shape in pieces.items()}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    return [helper.make_tensor_value_info("labels", TensorProto.INT64, [samples]), *values]


def _pieces(graph: GraphBuilder, info: HeadInfo) -> dict[str, Sequence[int]]:
    """The parameters as inputs: whole, or by position."""
    pieces: dict[str, Sequence[int]] = {}
    for parameter in info.parameters:
        if parameter.name in graph.positions:
            for position in graph.positions[parameter.name]:
                pieces[position_name(parameter.name, position)] = parameter.shape[:2]
        else:
            pieces[parameter.name] = parameter.shape
    return pieces


def _finish(
    graph: GraphBuilder, inputs: list[onnx.ValueInfoProto], outputs: Sequence[str], head: onnx.ModelProto
) -> onnx.ModelProto:
    """The checked model of the nodes that the outputs need. The builder is done with."""
    graph.convolutions.clear()  # they hold the builder: a ring that keeps every weight until Python looks for rings
    needed = ancestors_of(graph.nodes, outputs)
    graph.nodes = [node for node in graph.nodes if needed.intersection(node.output)]
    used = {name for node in graph.nodes for name in node.input}
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in graph.values.items() if name in used]
    nodes = []
    for node in graph.nodes:
        bare = onnx.NodeProto()
        bare.CopyFrom(node)
        bare.ClearField("doc_string")
        del bare.metadata_props[:]
        nodes.append(bare)
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    body = helper.make_graph(nodes, "training_step", inputs, results, constants)
    model = helper.make_model(body, opset_imports=head.opset_import, ir_version=head.ir_version)
    model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    name_shuffled_channels(model)
    save_transposes(model, graph.blind)
    del model.graph.value_info[:]
    flatten_scalar_operations(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def build_forward(head: onnx.ModelProto, info: HeadInfo) -> onnx.ModelProto:
    """The head with its parameters as inputs instead of weights; the number of rows stays free."""
    model = onnx.ModelProto()
    model.CopyFrom(head)
    shapes = {parameter.name: parameter.shape for parameter in info.parameters}
    kept = [value for value in model.graph.initializer if value.name not in shapes]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    present = {value.name for value in model.graph.input}
    model.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
        if name not in present
    )
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model


def _build_evaluation(head: onnx.ModelProto, info: HeadInfo, rows: int) -> tuple[onnx.ModelProto, list[str]]:
    """The head with its parameters as step graphs take them, and the kernels that it takes by position."""
    names = [parameter.name for parameter in info.parameters]
    outputs = list(dict.fromkeys([LOGITS, PENULTIMATE, *info.patterns, TAPS]))
    graph = GraphBuilder(head, rows, names)
    graph.keep_only(outputs)
    emit_forward(graph, names, PatternTerms(graph, [], rows, 0))
    shapes = {FEATURES: graph.shape(FEATURES), **_pieces(graph, info)}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    return _finish(graph, inputs, outputs, head), sorted(graph.positions)


def _check_head(head: onnx.ModelProto, info: HeadInfo, feature_shape: Sequence[int]) -> None:
    """Refuse a head that does not fit its description."""
    given = head.graph.input[0]
    sides = [side.dim_value for side in given.type.tensor_type.shape.dim][1:]
    if given.name != FEATURES or sides != list(feature_shape):
        raise BundleError(
            f"head.onnx: the first input is {given.name!r} of shape {sides}, "
            f"expected 'features' of shape {list(feature_shape)} behind the batch axis"
        )
    shapes = {value.name: list(value.dims) for value in head.graph.initializer}
    for parameter in info.parameters:
        if shapes.get(parameter.name) != parameter.shape:
            found = shapes.get(parameter.name, "no such initialiser")
            raise BundleError(f"head.onnx: {parameter.name!r} is {found}, expected shape {parameter.shape}")
    made = {name for node in head.graph.node for name in node.output}
    for name in (LOGITS, *info.patterns, TAPS):
        if name not in made:
            raise BundleError(f"head.onnx: no node computes {name!r}, expected it among the head's outputs")


@dataclass(frozen=True)
class StepGraphs:
    """What a bundle offers to the ``ort`` engine: graphs with their records, and the head with ``positions_first``."""

    head: HeadInfo
    graphs: list[tuple[StepGraph, bytes]]

    @property
    def records(self) -> list[StepGraph]:
        return [record for record, _ in self.graphs]

    @property
    def files(self) -> dict[str, bytes]:
        """Path in the bundle -> content."""
        return {record.path: data for record, data in self.graphs}


def step_graphs(
    head: onnx.ModelProto,
    head_info: HeadInfo,
    feature_shape: Sequence[int],
    batch_sizes: Sequence[int],
    buffered_samples: int,
) -> StepGraphs:
    """All graphs that a bundle offers to the ``ort`` engine.

    For each batch size, one step in place and some that accumulate over ``MICRO_BATCHES`` parts, each with and without
    buffered samples. Then one ``forward`` graph; its record says 0 rows, because their number is free. Last an
    ``evaluate`` graph, where kernels are taken by position.

    Raises:
        BundleError: when the head does not fit its description or can't be trained.
    """
    _check_head(head, head_info, feature_shape)
    geometries: dict[StepGraph, bool] = {}  # without peaks, so that equal geometries meet
    for size in batch_sizes:
        for update, parts in ((IN_PLACE, 1), *((ACCUMULATE, parts) for parts in MICRO_BATCHES)):
            for buffered in sorted({0, buffered_samples}):
                rows, held = -(-size // parts), -(-buffered // parts)
                path = f"training_step/{update}_{rows}_{held}.onnx"
                geometries[StepGraph(path, update, rows, held, 0)] = update == IN_PLACE
    graphs = []
    for step, in_place in geometries.items():
        model = build_step(head, head_info, step.samples, step.buffered_samples, in_place=in_place)
        known = replace(step, peak_bytes=peak_bytes(model))
        graphs.append((known, model.SerializeToString(deterministic=True)))
    forward = StepGraph("training_step/forward.onnx", FORWARD, 0, 0, 0)
    graphs.append((forward, build_forward(head, head_info).SerializeToString(deterministic=True)))
    evaluation, positions_first = _build_evaluation(head, head_info, FORWARD_ROWS)
    if positions_first:
        record = StepGraph("training_step/evaluate.onnx", EVALUATE, FORWARD_ROWS, 0, peak_bytes(evaluation))
        graphs.append((record, evaluation.SerializeToString(deterministic=True)))
    return StepGraphs(replace(head_info, positions_first=positions_first), graphs)

"""Cut a graph into the trunk, which only infers, and the head, which the device trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE, LOGITS, PENULTIMATE, TAPS
from lightcl_edge.bundle.manifest import HeadInfo, ParameterInfo
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.cutting.classifier import Classifier, install_classifier
from lightcl_host.cutting.cuts import Cut
from lightcl_host.cutting.head_parameters import complete_biases, name_parameters
from lightcl_host.cutting.patterns import pattern_tensors
from lightcl_host.cutting.taps import Tap, TapPlace, add_taps, default_taps, tap_places
from lightcl_host.graphs.graph import rename_tensors, to_array
from lightcl_host.graphs.module_paths import module_path
from lightcl_host.graphs.shapes import infer_shapes

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Split:
    """Both parts of a network."""

    trunk: onnx.ModelProto  # ``image`` -> ``features``, float32
    # ``features`` -> ``logits``, ``penultimate``, the pattern tensors and ``taps``, with the device's classifier
    head: onnx.ModelProto
    head_info: HeadInfo  # the head's description for the manifest
    original: Classifier  # the network's own classifier
    tap_places: list[TapPlace]  # all that could be tapped, the deepest first

    def parameters(self) -> dict[str, FloatArray]:
        """The trained tensors by name."""
        weights = {tensor.name: tensor for tensor in self.head.graph.initializer}
        return {entry.name: to_array(weights[entry.name]).astype(np.float32) for entry in self.head_info.parameters}


def split_graph(
    model: onnx.ModelProto,
    cut: Cut,
    capacity: int,
    keep_classes: bool,
    seed: int,
    choose: Callable[[Sequence[TapPlace]], Sequence[Tap]] = default_taps,
) -> Split:
    """Cut a graph. ``choose`` says what is taken of all places that can be tapped.

    Raises:
        UsageError: when the network's own classes are to be kept and are more than the capacity.
    """
    trunk = _extract(model, [IMAGE], [cut.tensor])
    rename_tensors(trunk.graph, {cut.tensor: FEATURES})
    head = _extract(model, [cut.tensor], [LOGITS])
    rename_tensors(head.graph, {cut.tensor: FEATURES})
    original = install_classifier(head, capacity, keep_classes, seed)
    complete_biases(head)
    trained = name_parameters(head)
    head = infer_shapes(head)
    places = tap_places(head)
    renamed = _name_patterns(head)
    places = [replace(place, tensor=renamed.get(place.tensor, place.tensor)) for place in places]
    patterns = list(renamed.values())
    _declare_outputs(head, patterns)
    operators = sorted({node.op_type for node in head.graph.node})
    taps = add_taps(head, choose(places))
    head = infer_shapes(head)
    for part in (trunk, head):
        _finish(part)
    info = HeadInfo(
        capacity=capacity,
        penultimate_size=int(original.weight.shape[1]),
        operators=operators,
        parameters=[ParameterInfo(name, list(shape)) for name, shape in trained.items()],
        patterns=[*patterns, LOGITS],
        taps=taps,
    )
    return Split(infer_shapes(trunk), head, info, original, places)


def _extract(model: onnx.ModelProto, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    """The part between the tensors, by the onnx library's own tool, on a copy."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    part: onnx.ModelProto = onnx.utils.Extractor(copy).extract_model(inputs, outputs)
    result = onnx.ModelProto()
    result.CopyFrom(part)
    result.producer_name = model.producer_name
    result.ir_version = model.ir_version
    return result


def _name_patterns(head: onnx.ModelProto) -> dict[str, str]:
    """Rename pattern tensors after the modules they come from; returns the new name of each, in order."""
    producers = {node.output[0]: node for node in head.graph.node}
    taken = {name for node in head.graph.node for name in node.output} | {FEATURES, LOGITS, PENULTIMATE, TAPS}
    names: dict[str, str] = {}
    for tensor in pattern_tensors(head):
        path = module_path(producers[tensor]) or tensor.strip("/").replace("/", ".")
        name, count = path, 1
        while name in taken:
            count += 1
            name = f"{path}.{count}"
        names[tensor] = tensor if tensor == PENULTIMATE else name
        taken.add(name)
    rename_tensors(head.graph, names)
    return names


def _declare_outputs(head: onnx.ModelProto, patterns: list[str]) -> None:
    """The head's outputs in the order of the format: logits, penultimate, patterns; taps follow."""
    infos = {info.name: info for info in [*head.graph.value_info, *head.graph.output]}
    wanted = [infos[name] for name in dict.fromkeys([LOGITS, PENULTIMATE, *patterns])]
    del head.graph.output[:]
    head.graph.output.extend(wanted)


def _finish(model: onnx.ModelProto) -> None:
    """Nodes with plain names and without notes."""
    for index, node in enumerate(model.graph.node):
        node.name = f"{index:03d}_{node.op_type}"
        del node.metadata_props[:]
        node.doc_string = ""

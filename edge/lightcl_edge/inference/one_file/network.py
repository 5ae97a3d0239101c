"""The whole way from pixels to probabilities as one graph: what ``Predictor`` computes, by ONNX operators alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import HEAD, TRUNK, Bundle
from lightcl_edge.bundle.graph_names import FEATURES, IMAGE, LOGITS, TAPS
from lightcl_edge.bundle.manifest import FeatureInfo, InputInfo
from lightcl_edge.files.tensors import check_parameters
from lightcl_edge.inference.generation_classifier import classifier_of
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.inference.one_file.graph import JoinedGraph
from lightcl_edge.state.generation import Generation

PROBABILITIES, UNKNOWN_SCORE = "probabilities", "unknown_score"
_TRUNK, _LEARNED, _EXPORTED = "trunk/", "head/", "exported/"


@dataclass(frozen=True)
class Choice:
    """What the file gives: probabilities or logits, and the score of what was never seen where there is one."""

    logits: bool = False
    unknown: bool = True

    @property
    def first(self) -> str:
        """The name of the output with a number for each class."""
        return LOGITS if self.logits else PROBABILITIES


def network(bundle: Bundle, generation: Generation, choice: Choice) -> JoinedGraph:
    """The graph from ``image`` to the chosen outputs.

    Raises BundleError when parts of the bundle do not fit each other, StateError when the classifier does not fit.
    """
    graph, classifier = JoinedGraph(), classifier_of(generation)
    _normalise(graph, bundle.manifest.input)
    graph.add_file(bundle.path(TRUNK), _TRUNK)
    _through_bytes(graph, bundle.manifest.feature, [_LEARNED + FEATURES, _EXPORTED + FEATURES])
    shapes = {parameter.name: tuple(parameter.shape) for parameter in bundle.manifest.head.parameters}
    learned = check_parameters(generation.parameters, shapes, "the learned head")
    graph.add_file(bundle.path(HEAD), _LEARNED, learned)
    taps = _LEARNED + TAPS
    if classifier.tells_unknown and classifier.needs_head:  # taps are always those of the head as exported
        graph.add_file(bundle.path(HEAD), _EXPORTED, bundle.head_parameters())
        taps = _EXPORTED + TAPS
    _classify(graph, classifier, taps, choice)
    if choice.unknown and classifier.tells_unknown:
        _score_unknown(graph, classifier, taps)
    return graph


def _normalise(graph: JoinedGraph, info: InputInfo) -> None:
    """RGB pixels 0..255 to the trunk's input, as ``trunk.normalise``."""
    std = np.asarray(info.std, np.float64)
    scale = graph.constant("pixel_scale", _column(1.0 / (255.0 * std), 3))
    shift = graph.constant("pixel_shift", _column(np.asarray(info.mean, np.float64) / std, 3))
    pixels = IMAGE
    if info.channel_order == "BGR":
        order = graph.constant("channel_order", np.array([2, 1, 0], np.int64))
        pixels = graph.operator("Gather", [pixels, order], "ordered", axis=1)
    graph.operator("Sub", [graph.operator("Mul", [pixels, scale], "scaled"), shift], _TRUNK + IMAGE)


def _through_bytes(graph: JoinedGraph, info: FeatureInfo, heads: list[str]) -> None:
    """Features to bytes and back, as ``FeatureCodec``: the head was trained on such features.

    Not by QuantizeLinear: runtimes join it with its neighbours, and round in other places.
    """
    scale = graph.constant("feature_scale", _column(info.scale, len(info.shape), info.channel_axis))
    zero = graph.constant("feature_zero_point", _column(info.zero_point, len(info.shape), info.channel_axis))
    least, most = (graph.constant(f"byte_{value}", np.float32(value)) for value in (0, 255))
    found = graph.operator("Div", [_TRUNK + FEATURES, scale], "feature_steps")
    found = graph.operator("Round", [graph.operator("Add", [found, zero], "feature_from_zero")], "feature_rounded")
    found = graph.operator("Sub", [graph.operator("Clip", [found, least, most], "feature_byte"), zero], "feature_back")
    for head in heads:
        graph.operator("Mul", [found, scale], head)


def _classify(graph: JoinedGraph, classifier: LearnedClassifier, taps: str, choice: Choice) -> None:
    """Logits by temperature, as ``LearnedClassifier.probabilities``."""
    found, count = [], len(classifier.biases)
    if classifier.closed_form_share and len(classifier.weights):
        share = classifier.closed_form_share / classifier.temperature
        # What all classes share is not seen by the softmax. Without it float32 rounds less.
        rows, biases = _apart(classifier.weights) * share, _apart(classifier.biases) * share
        found.append(_rows(graph, "closed_form", taps, rows, biases))
    if classifier.needs_head:
        places = {"class_start": 0, "class_end": count, "class_axis": 1}
        ends = [graph.constant(name, np.array([place], np.int64)) for name, place in places.items()]
        head = graph.operator("Slice", [_LEARNED + LOGITS, *ends], "head_logits")
        factor = graph.constant("head_share", np.float32(classifier.head_share / classifier.temperature))
        found.append(graph.operator("Mul", [head, factor], "head_part"))
    logits = found[0] if len(found) == 1 else graph.operator("Add", found, "both_parts")
    graph.operator("Identity" if choice.logits else "Softmax", [logits], choice.first)


def _score_unknown(graph: JoinedGraph, classifier: LearnedClassifier, taps: str) -> None:
    """How strange an image is, as ``novelty``."""
    terms = classifier.terms
    axis = graph.constant("taps_axis", np.array([1], np.int64))
    own = _rows(graph, "own", taps, -2.0 * _apart(classifier.weights), terms.own)
    nearest = graph.operator("ReduceMin", [own, axis], "nearest", keepdims=0)
    apart = graph.operator("Sub", [taps, graph.constant("taps_centre", terms.centre)], "taps_apart")
    matrix = graph.constant("taps_matrix", terms.matrix)
    squares = graph.operator("Mul", [graph.operator("MatMul", [apart, matrix], "taps_weighed"), apart], "taps_squares")
    distance = graph.operator("ReduceSum", [squares, axis], "taps_distance", keepdims=0)
    graph.operator("Add", [nearest, distance], UNKNOWN_SCORE)


def _rows(graph: JoinedGraph, name: str, taps: str, rows: NDArray[np.float64], biases: NDArray[np.float64]) -> str:
    weights = graph.constant(f"{name}_rows", rows.T.astype(np.float32))
    return graph.operator("Gemm", [taps, weights, graph.constant(f"{name}_biases", biases.astype(np.float32))], name)


def _apart(values: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    apart: NDArray[np.float64] = wide - wide.mean(axis=0)
    return apart


def _column(values: object, sides: int, axis: int = 0) -> NDArray[np.float32]:
    """A number for each channel, or one, in the form that is added to all of a channel."""
    shape = [1] * sides
    shape[axis] = -1
    return np.asarray(values, np.float64).astype(np.float32).reshape(shape)

"""ONNX files of any exporter, brought to the opset of all bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import OPSET, drop_unused
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.sources.constant_folding import fold_constants
from lightcl_host.sources.failure_reason import failure_reason
from lightcl_host.sources.normal_form import to_normal_form

if TYPE_CHECKING:
    import onnx


_PROBABILITIES = frozenset({"Softmax", "LogSoftmax"})


class ForeignGraph:
    """A vision classifier from an ``.onnx`` file; ``image_size`` is its side in pixels where the file leaves it open.

    Attributes ``height`` and ``width`` are those of the input in pixels. Raises UsageError when the file is not a graph
    with one image input of three channels and one output.
    """

    def __init__(self, path: Path, image_size: int | None) -> None:
        self._path = path
        self._model = _read(path)
        _check_interface(self._model, path)
        _drop_probabilities(self._model.graph)
        self.height, self.width = _fix_input(self._model.graph, image_size, path)
        self._runner: GraphRunner | None = None

    def run(self, images: FloatArray) -> FloatArray:
        """Logits ``(n, classes)`` of images ``(n, 3, h, w)``, by the file's own graph, one image at a time."""
        graph = self._model.graph
        name, output = graph.input[0].name, graph.output[0].name
        try:
            runner = self._runner = self._runner or GraphRunner(self._model)
            return np.concatenate([runner({name: images[i : i + 1]}, [output])[output] for i in range(len(images))])
        except RuntimeError as error:
            raise UsageError(
                f"{self._path} does not run in onnxruntime: {failure_reason(error)}; export it again"
            ) from error

    def normal_form(self, *, keep_batch_norm: bool = False) -> onnx.ModelProto:
        """The graph in normal form; UsageError when it can't be converted or run in batches."""
        from onnxscript import optimizer, rewriter

        converted = _at_opset(self._model, self._path)
        try:
            model = fold_constants(converted) if keep_batch_norm else rewriter.rewrite(optimizer.optimize(converted))
            return to_normal_form(model, fold_batch_norm=not keep_batch_norm)
        except UsageError:
            raise
        except Exception as error:  # onnx and onnxscript raise many classes on graphs they do not understand
            raise UsageError(
                f"{self._path} can't be simplified: {failure_reason(error)}; export it with static shapes"
            ) from error


def _read(path: Path) -> onnx.ModelProto:
    import onnx

    if not path.is_file():
        raise UsageError(f"no model at {path}; expected an .onnx file")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, the checker and the file system each have their own classes
        raise UsageError(
            f"{path} is not a readable ONNX model ({failure_reason(error)}); expected an exported classifier"
        ) from error
    return model


def _check_interface(model: onnx.ModelProto, path: Path) -> None:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in weights]
    for info in [info for info in graph.input if info.name in weights]:
        graph.input.remove(info)
    if len(inputs) != 1 or len(graph.output) != 1:
        raise UsageError(f"{path} has {len(inputs)} inputs and {len(graph.output)} outputs; expected one of each")
    dims = [dim.dim_value or dim.dim_param or "?" for dim in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or dims[1] != 3:
        raise UsageError(f"{path}: the input has shape {dims}; expected (batch, 3, height, width)")
    domains = sorted({entry.domain for entry in model.opset_import} - {"", "ai.onnx"})
    foreign = [node.op_type for node in graph.node if node.domain not in ("", "ai.onnx")]
    if foreign:
        raise UsageError(f"{path} uses operators outside ONNX: {foreign[:3]} of {domains}; export it without them")


def _drop_probabilities(graph: onnx.GraphProto) -> None:
    """A softmax at the end turns logits into probabilities; training needs the logits."""
    output = graph.output[0]
    producer = next((node for node in graph.node if output.name in node.output), None)
    if producer is not None and producer.op_type in _PROBABILITIES:
        output.name = producer.input[0]
        drop_unused(graph)


def _fix_input(graph: onnx.GraphProto, image_size: int | None, path: Path) -> tuple[int, int]:
    dims = graph.input[0].type.tensor_type.shape.dim
    for axis in (2, 3):
        found = dims[axis].dim_value
        if found == 0 and image_size is None:
            raise UsageError(f"{path} leaves the image size open; give it with --image-size")
        if found and image_size not in (None, found):
            raise UsageError(f"{path} takes images of {found} pixels, found --image-size {image_size}; leave it out")
        dims[axis].dim_value = found or int(image_size or 0)
    dims[0].dim_value = 1
    output = graph.output[0].type.tensor_type.shape.dim
    if output:
        output[0].dim_value = 1
    del graph.value_info[:]
    return dims[2].dim_value, dims[3].dim_value


def _at_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The same graph in the opset of all bundles, as the onnx library converts it."""
    import onnx

    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if version == OPSET:
        return model
    try:
        converted: onnx.ModelProto = onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises bare C++ errors
        raise UsageError(
            f"{path} has opset {version} and can't be converted to {OPSET}: {failure_reason(error)}; "
            f"export it with opset {OPSET}"
        ) from error
    return converted

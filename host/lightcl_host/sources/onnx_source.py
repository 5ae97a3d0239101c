"""ONNX files of any exporter, brought to the opset of all bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import IMAGE
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import OPSET
from lightcl_host.graphs.quiet import quiet
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.sources.failure_reason import failure_reason
from lightcl_host.sources.interface import one_image_input, one_output
from lightcl_host.sources.normalising.dequantisation import dequantise, spread_over_moves
from lightcl_host.sources.normalising.free_batch import free_batch
from lightcl_host.sources.normalising.normal_form import to_normal_form
from lightcl_host.sources.normalising.precision import to_float32
from lightcl_host.sources.pixels import Preprocessing, preprocessing_of
from lightcl_host.sources.stated_input import stated_input

if TYPE_CHECKING:
    import onnx


class ForeignGraph:
    """A vision classifier from an ``.onnx`` file.

    ``image_size`` is its side in pixels where the file leaves it open, ``output`` the name of its logits where it has
    several outputs. Raises UsageError when the file is not a graph with one image input of three channels and one
    output.

    Attributes:
        height: of the input in pixels.
        width: of the input in pixels.
        as_bytes: whether it takes bytes.
        stated: what the file says of its input and classes.
        quantisation: how the file was quantised; None where it was not.
        notes: what was changed on the way in.
    """

    def __init__(self, path: Path, image_size: int | None, output: str | None = None) -> None:
        self._path = path
        self._model = _read(path)
        self.notes: list[str] = []
        self.stated = stated_input(self._model, path)
        if to_float32(self._model):
            self.notes.append("the file's other floating-point numbers are read as float32")
        one_output(self._model.graph, output, str(path))
        self.quantisation = dequantise(self._model)
        if self.quantisation is not None:
            self.notes.append("the file is in 8 bits: the trunk keeps them, the head learns in float32")
        self.as_bytes = one_image_input(self._model.graph, str(path))
        self.height, self.width = _fix_input(self._model.graph, image_size, path)
        if self.quantisation is not None:
            spread_over_moves(self._model.graph, self.quantisation.activations)
            self.quantisation.rename(self._model.graph.input[0].name, IMAGE)
        self._runner: GraphRunner | None = None
        self._free: onnx.ModelProto | None = None

    def run(self, images: FloatArray) -> FloatArray:
        """Logits ``(n, classes)`` of images ``(n, 3, h, w)``, by the file's own graph, one image at a time."""
        graph = self._model.graph
        name, output = graph.input[0].name, graph.output[0].name
        fixed = graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
        try:
            runner = self._runner = self._runner or GraphRunner(self._model)
            rows = [
                runner({name: np.repeat(images[i : i + 1], fixed, axis=0)}, [output])[output][:1].reshape(1, -1)
                for i in range(len(images))
            ]
            return np.concatenate(rows).astype(np.float32)
        except RuntimeError as error:
            raise UsageError(
                f"{self._path} does not run in onnxruntime: {failure_reason(error)}; export it again"
            ) from error

    def preprocessing(self) -> Preprocessing | None:
        """What the file does to its pixels before the first layer."""
        return preprocessing_of(self._with_free_batch())

    def normal_form(self, *, keep_batch_norm: bool = False) -> onnx.ModelProto:
        """The graph in normal form; UsageError when it can't be converted or run in batches."""
        import onnx
        from onnxscript import optimizer, rewriter

        model = onnx.ModelProto()
        model.CopyFrom(self._with_free_batch())
        try:
            if not keep_batch_norm:
                with quiet():
                    model = rewriter.rewrite(optimizer.optimize(model))
            return to_normal_form(model, fold_batch_norm=not keep_batch_norm)
        except UsageError as error:
            raise UsageError(f"{self._path}: {error}") from error
        except Exception as error:  # onnx and onnxscript raise many classes on graphs they do not understand
            raise UsageError(
                f"{self._path} can't be simplified: {failure_reason(error)}; try another exporter or opset"
            ) from error

    def _with_free_batch(self) -> onnx.ModelProto:
        """The graph at the opset of all bundles, with constants for all that no pixel changes."""
        if self._free is None:
            import onnx

            model = onnx.ModelProto()
            model.CopyFrom(_at_opset(self._model, self._path))
            try:
                free_batch(model)
            except UsageError as error:
                raise UsageError(f"{self._path}: {error}") from error
            self._free = model
        return self._free


def _read(path: Path) -> onnx.ModelProto:
    import onnx
    import onnx.inliner

    if not path.is_file():
        raise UsageError(f"no model at {path}; expected an .onnx file")
    try:
        model = onnx.load(path)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        _check_operators(model, path)
        onnx.checker.check_model(path)
    except UsageError:
        raise
    except Exception as error:  # protobuf, the checker and the file system each have their own classes
        raise UsageError(
            f"{path} is not a readable ONNX model ({failure_reason(error)}); expected an exported classifier"
        ) from error
    return model


def _check_operators(model: onnx.ModelProto, path: Path) -> None:
    foreign = {(node.domain, node.op_type) for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    if foreign:
        names = ", ".join(f"{kind} of {domain}" for domain, kind in sorted(foreign)[:3])
        raise UsageError(
            f"{path} uses operators outside ONNX ({names}), which the device's parts can't hold; "
            "export it without an optimiser or quantiser that is made for one runtime"
        )


def _fix_input(graph: onnx.GraphProto, image_size: int | None, path: Path) -> tuple[int, int]:
    dims = graph.input[0].type.tensor_type.shape.dim
    for axis in (2, 3):
        found = dims[axis].dim_value
        if found == 0 and image_size is None:
            raise UsageError(f"{path} leaves the image size open; give it with --image-size")
        if found and image_size not in (None, found):
            raise UsageError(f"{path} takes images of {found} pixels, found --image-size {image_size}; leave it out")
        dims[axis].dim_value = found or int(image_size or 0)
    graph.output[0].type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    return dims[2].dim_value, dims[3].dim_value


def _at_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The same graph in the opset of all bundles."""
    import onnx

    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if version == OPSET:
        return model
    if version > OPSET and _same_operators(model, version):
        older = onnx.ModelProto()
        older.CopyFrom(model)
        del older.opset_import[:]
        older.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        return older
    try:
        converted: onnx.ModelProto = onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises bare C++ errors
        raise UsageError(
            f"{path} has opset {version} and can't be converted to {OPSET}: {failure_reason(error)}; "
            f"export it with opset {OPSET}"
        ) from error
    return converted


def _same_operators(model: onnx.ModelProto, version: int) -> bool:
    """Whether every attribute and input of its nodes exists in the older opset; new versions mostly add types."""
    import onnx

    for node in model.graph.node:
        try:
            older = onnx.defs.get_schema(node.op_type, OPSET)
        except onnx.defs.SchemaError:
            return False
        newer = onnx.defs.get_schema(node.op_type, version)
        if older.since_version == newer.since_version:
            continue
        known = all(entry.name in older.attributes for entry in node.attribute)
        if not known or len(node.input) > older.max_input or len(node.output) > older.max_output:
            return False
    return True

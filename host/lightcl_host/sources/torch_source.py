"""Export a torch module with PyTorch's own exporters.

The older one, which traces, is ten times as fast. Where its graph computes shapes while it runs, as of most
transformers, or does not give the module's answers, the newer one is taken.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import IMAGE, LOGITS
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import BATCH, OPSET, rename_tensors
from lightcl_host.graphs.quiet import quiet
from lightcl_host.graphs.runner import GraphRunner, relative_difference
from lightcl_host.sources.failure_reason import failure_reason
from lightcl_host.sources.normalising.free_batch import free_batch
from lightcl_host.sources.normalising.normal_form import to_normal_form

if TYPE_CHECKING:
    import onnx
    import torch

#: PyTorch asks for a bound of the batch.
_MOST_IMAGES = 4096
#: A traced graph is compared with its module on another number of images than it was traced with.
_TRACED_IMAGES, _COMPARED_IMAGES = 2, 3
_MOST_DIFFERENCE = 1e-3
#: Not the names of the normal form, which gives them to other tensors.
_INPUT, _OUTPUT = "input", "output"
_COMPUTED_SHAPES = ("Shape", "If", "Loop")


def export_module(
    module: torch.nn.Module, height: int, width: int, *, keep_batch_norm: bool = False
) -> onnx.ModelProto:
    """The module as a graph in normal form.

    Args:
        module: in evaluation mode; takes ``(n, 3, height, width)``.

    Raises:
        UsageError: when PyTorch can't export the module at this size.
    """
    try:
        if not keep_batch_norm and (traced := _traced(module, height, width)) is not None:
            return traced
        try:
            model = _exported(module, height, width, keep_batch_norm, free=True)
            free_batch(model)
        except Exception:  # some networks can't be traced with a free batch axis
            model = _exported_for_one(module, height, width, keep_batch_norm)
            free_batch(model)
        return to_normal_form(model, fold_batch_norm=not keep_batch_norm)
    except UsageError:
        raise
    except Exception as error:  # onnx raises many classes on graphs that it does not understand
        raise UsageError(f"the network's graph can't be simplified: {failure_reason(error)}") from error


def _traced(module: torch.nn.Module, height: int, width: int) -> onnx.ModelProto | None:
    """In normal form, by the older exporter; None where the newer one is needed."""
    import onnx
    import torch
    from onnxscript import optimizer

    file = BytesIO()
    try:
        with quiet():
            torch.onnx.export(
                module,
                (torch.zeros(_TRACED_IMAGES, 3, height, width),),
                file,  # type: ignore[arg-type]  # dynamo=False takes files too
                dynamo=False,
                opset_version=OPSET,
                input_names=[_INPUT],
                output_names=[_OUTPUT],
                dynamic_axes={_INPUT: {0: BATCH}, _OUTPUT: {0: BATCH}},
            )
    except Exception:  # it raises many classes, and may be gone from a newer PyTorch
        return None
    model = onnx.load_from_string(file.getvalue())
    try:
        free_batch(model)
        with quiet():
            model = optimizer.optimize(model)
        model = to_normal_form(model)
        _shorten_names(model.graph)
        if any(node.op_type in _COMPUTED_SHAPES for node in model.graph.node):
            return None
        images = np.random.default_rng(0).random((_COMPARED_IMAGES, 3, height, width), np.float32)
        found = GraphRunner(model)({IMAGE: images}, [LOGITS])[LOGITS]
    except Exception:  # onnx, onnxscript and onnxruntime raise many classes on graphs that they do not understand
        return None
    return model if relative_difference(found, run_module(module, images)) < _MOST_DIFFERENCE else None


def _shorten_names(graph: onnx.GraphProto) -> None:
    """``/stem/stem.1/Conv_output_0`` becomes ``stem.stem.1.Conv``: a person may have to type a cut's name."""
    long = [name for node in graph.node for name in node.output if name.startswith("/")]
    rename_tensors(graph, {name: name.strip("/").removesuffix("_output_0").replace("/", ".") for name in long})


def _exported_for_one(module: torch.nn.Module, height: int, width: int, keep_batch_norm: bool) -> onnx.ModelProto:
    try:
        return _exported(module, height, width, keep_batch_norm, free=False)
    except Exception as error:  # the exporter raises many classes; all mean that this network can't be exported
        raise UsageError(
            f"PyTorch can't export the network at {height} x {width} pixels: {failure_reason(error)}; "
            "try another --image-size or give the network as an .onnx file"
        ) from error


def _exported(
    module: torch.nn.Module, height: int, width: int, keep_batch_norm: bool, *, free: bool
) -> onnx.ModelProto:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    example = torch.zeros(2 if free else 1, 3, height, width)
    batch = torch.export.Dim(BATCH, min=1, max=_MOST_IMAGES)
    # its warnings are about its own future; its fast attention gives strides that the exporter can't follow
    with quiet(), sdpa_kernel(SDPBackend.MATH):
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            optimize=not keep_batch_norm,
            verbose=False,
            dynamic_shapes=({0: batch},) if free else None,
        )
    model: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]  # dynamo=True gives a program
    return model


def run_module(module: torch.nn.Module, images: FloatArray) -> FloatArray:
    """Logits of the original module in evaluation mode."""
    import torch

    with torch.no_grad():
        return np.asarray(module(torch.from_numpy(images)).numpy(), np.float32)

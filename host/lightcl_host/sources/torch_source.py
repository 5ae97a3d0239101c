"""Export a torch module with PyTorch's own exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import BATCH, OPSET
from lightcl_host.graphs.quiet import quiet
from lightcl_host.sources.failure_reason import failure_reason
from lightcl_host.sources.normalising.free_batch import free_batch
from lightcl_host.sources.normalising.normal_form import to_normal_form

if TYPE_CHECKING:
    import onnx
    import torch

#: PyTorch asks for a bound of the batch.
_MOST_IMAGES = 4096


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

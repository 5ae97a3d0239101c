"""Export a torch module with PyTorch's own exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import IMAGE, LOGITS
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import OPSET
from lightcl_host.graphs.quiet import quiet
from lightcl_host.sources.constant_folding import fold_constants
from lightcl_host.sources.failure_reason import failure_reason
from lightcl_host.sources.normal_form import to_normal_form

if TYPE_CHECKING:
    import onnx
    import torch


def export_module(
    module: torch.nn.Module, height: int, width: int, *, keep_batch_norm: bool = False
) -> onnx.ModelProto:
    """The module as a graph in normal form.

    Args:
        module: in evaluation mode; takes ``(n, 3, height, width)``.

    Raises:
        UsageError: when PyTorch can't export the module at this size.
    """
    import torch

    example = torch.zeros(1, 3, height, width)
    try:
        with quiet():  # its warnings are about its own future, not about the network
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[IMAGE],
                output_names=[LOGITS],
                optimize=not keep_batch_norm,
                verbose=False,
            )
            model: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]  # dynamo=True gives a program
    except Exception as error:  # the exporter raises many classes; all mean that this network can't be exported
        raise UsageError(
            f"PyTorch can't export the network at {height} x {width} pixels: {failure_reason(error)}; "
            "try another --image-size or give the network as an .onnx file"
        ) from error
    if keep_batch_norm:
        model = fold_constants(model)
    return to_normal_form(model, fold_batch_norm=not keep_batch_norm)


def run_module(module: torch.nn.Module, images: FloatArray) -> FloatArray:
    """Logits of the original module in evaluation mode."""
    import torch

    with torch.no_grad():
        return np.asarray(module(torch.from_numpy(images)).numpy(), np.float32)

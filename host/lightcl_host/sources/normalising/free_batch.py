"""Make a graph take any number of images, and check that each is treated alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.errors import UsageError
from lightcl_host.graphs.graph import BATCH
from lightcl_host.graphs.runner import GraphRunner, relative_difference
from lightcl_host.graphs.shapes import set_batch
from lightcl_host.sources.failure_reason import failure_reason
from lightcl_host.sources.normalising.fixed_batch import free_fixed_batch
from lightcl_host.sources.normalising.shape_values import TiedBatchError, fold_shape_values

if TYPE_CHECKING:
    import onnx

#: Largest difference between an image run alone and in a batch, relative to the largest logit.
BATCH_TOLERANCE = 1e-4
_TRIED_BATCH = 3


def free_batch(model: onnx.ModelProto) -> None:
    """Give the graph the free axis ``batch`` and no computed shapes, in place.

    A graph that runs with several images keeps its own way to do so. One that was exported for a fixed number has its
    constants rewritten, by following the batch axis from the image to the logits.

    Raises:
        UsageError: when images influence each other, or when the batch axis can't be followed.
    """
    import onnx

    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    fixed = dim.dim_value
    untouched = onnx.ModelProto()
    untouched.CopyFrom(model)
    try:
        fold_shape_values(model)
        _check(model)
    except UsageError:
        _check_that_it_runs(untouched, fixed or 1)
        if not fixed:
            raise
        model.CopyFrom(untouched)
        fold_shape_values(model, (fixed, fixed))
        free_fixed_batch(model, fixed)
        _check(model)
    dim.dim_param = BATCH


def _check_that_it_runs(model: onnx.ModelProto, batch: int) -> None:
    """Refuse a graph that does not run as it was exported: its batch axis is not to blame."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    images = set_batch(copy, batch)
    try:
        GraphRunner(copy)({copy.graph.input[0].name: images}, [copy.graph.output[0].name])
    except RuntimeError as error:
        raise UsageError(f"the graph does not run in onnxruntime: {failure_reason(error)}; export it again") from error


def _check(model: onnx.ModelProto) -> None:
    source, output = model.graph.input[0].name, model.graph.output[0].name
    images = set_batch(model, _TRIED_BATCH)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    try:
        runner = GraphRunner(model)
        together = runner({source: images}, [output])[output]
        alone = [runner({source: images[i : i + 1]}, [output])[output] for i in range(_TRIED_BATCH)]
    except RuntimeError as error:
        raise TiedBatchError(
            f"a batch of {_TRIED_BATCH} images stops with: {failure_reason(error)}; "
            "export the network with a free batch axis (dynamic_shapes or dynamic_axes)"
        ) from error
    if any(not np.isfinite(values).all() for values in (together, *alone)):
        raise UsageError(
            "the network's answers to noise are not finite numbers; expected logits. "
            "Float16 weights overflow easily: export the network in float32"
        )
    single = np.concatenate(alone)
    if together.shape != single.shape:
        raise TiedBatchError(
            f"{_TRIED_BATCH} images give an output of shape {together.shape}, one after the other {single.shape}; "
            "expected one row of logits for each image"
        )
    difference = relative_difference(together.astype(np.float32), single.astype(np.float32))
    if not difference <= BATCH_TOLERANCE:
        raise UsageError(
            f"images of one batch influence each other: relative difference {difference:.3g}, expected at most "
            f"{BATCH_TOLERANCE:g}; export the network in evaluation mode with a free batch axis"
        )

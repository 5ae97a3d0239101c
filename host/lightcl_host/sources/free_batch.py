"""Make a graph that was exported for one image take any number of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import IMAGE, LOGITS
from lightcl_edge.errors import UsageError
from lightcl_host.graphs.graph import BATCH, infer_shapes, replace_all, to_array, to_tensor
from lightcl_host.graphs.runner import GraphRunner, relative_difference
from lightcl_host.sources.failure_reason import failure_reason

if TYPE_CHECKING:
    import onnx

#: Largest difference between an image run alone and in a batch, relative to the largest logit.
BATCH_TOLERANCE = 1e-4
_TRIED_BATCH = 3


def free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn the fixed batch axis into the free axis ``batch``, and check that images do not influence each other.

    The model is changed in place. Raises UsageError when it does not run with several images, or gives other results
    for them together.
    """
    graph = model.graph
    _free_reshapes(graph)
    for info in (graph.input[0], graph.output[0]):
        info.type.tensor_type.shape.dim[0].dim_param = BATCH
    model = infer_shapes(model)
    _check(model)
    return model


def _free_reshapes(graph: onnx.GraphProto) -> None:
    """``Reshape`` to ``(1, ...)`` becomes ``(0, ...)``: copy the first axis from the input."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for index, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.input[0] in weights or node.input[1] not in weights:
            continue
        target = to_array(weights[node.input[1]]).copy()
        if len(target) > 1 and target[0] == 1:
            target[0] = 0
            name = f"reshape_target_{index}"
            graph.initializer.append(to_tensor(target, name))
            node.input[1] = name
            replace_all(node.attribute, [entry for entry in node.attribute if entry.name != "allowzero"])
    used = {name for node in graph.node for name in node.input}
    replace_all(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used])


def _check(model: onnx.ModelProto) -> None:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    images = np.random.default_rng(0).normal(size=(_TRIED_BATCH, *(dim.dim_value for dim in dims[1:])))
    batch = {IMAGE: images.astype(np.float32)}
    try:
        runner = GraphRunner(model)
        together = runner(batch, [LOGITS])[LOGITS]
    except RuntimeError as error:
        raise UsageError(
            f"the graph is tied to one image at a time: a batch of {_TRIED_BATCH} stops with: {failure_reason(error)}; "
            "expected a network that takes several: choose another, or give an .onnx file with a free batch axis"
        ) from error
    alone = [runner({IMAGE: batch[IMAGE][i : i + 1]}, [LOGITS])[LOGITS] for i in range(_TRIED_BATCH)]
    difference = relative_difference(together, np.concatenate(alone))
    if not difference <= BATCH_TOLERANCE:
        raise UsageError(
            f"images of one batch influence each other: relative difference {difference:.3g}, expected at most "
            f"{BATCH_TOLERANCE:g}; export the network in evaluation mode with a free batch axis"
        )

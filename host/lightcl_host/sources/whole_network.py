"""The whole network with batch normalisation kept, to measure what training all of it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightcl_edge.errors import UsageError
from lightcl_host.graphs.module_paths import module_path
from lightcl_host.graphs.operators import TRAINABLE_OPERATORS

if TYPE_CHECKING:
    import onnx

    from lightcl_host.sources.source import Source

_ALLOWED = TRAINABLE_OPERATORS | {"BatchNormalization"}


def whole_network(source: Source) -> onnx.ModelProto:
    """The whole graph, ``image`` -> ``logits``; UsageError names an operator that can't be trained."""
    model = source.with_batch_norm()
    for node in model.graph.node:
        if node.op_type not in _ALLOWED:
            raise UsageError(
                f"--with-baselines: operator {node.op_type} ({module_path(node) or node.output[0]}) can't be trained; "
                "leave --with-baselines out for this network"
            )
    for node in model.graph.node:
        del node.metadata_props[:]
    return model

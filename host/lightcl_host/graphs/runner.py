"""Run ONNX graphs on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.inference.sessions import integer_options

if TYPE_CHECKING:
    import onnx


Number = TypeVar("Number", bound=np.generic)
#: Images or features that pass a graph at once.
BATCH = 16


class GraphRunner:
    """An onnxruntime session that does exactly what the graph says.

    Args:
        model: a graph, its bytes, or a file.
        threads: for one operator; 0 lets onnxruntime choose.

    Raises:
        RuntimeError: when onnxruntime does not accept the graph.
    """

    def __init__(self, model: onnx.ModelProto | bytes | Path, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it would print is raised too
        options.intra_op_num_threads = threads
        for name, value in integer_options().items():
            options.add_session_config_entry(name, value)
        source: Any = str(model) if isinstance(model, Path) else model
        if not isinstance(source, str | bytes):
            source = source.SerializeToString()
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own, all derived from Exception alone
            raise RuntimeError(str(error)) from error

    def __call__(
        self, inputs: Mapping[str, FloatArray | NDArray[np.generic]], outputs: Sequence[str]
    ) -> dict[str, FloatArray]:
        """Run once; returns the wanted outputs by name. Raises RuntimeError when an operator fails."""
        try:
            results = self._session.run(list(outputs), dict(inputs))
        except Exception as error:  # as above
            raise RuntimeError(str(error)) from error
        return dict(zip(outputs, results, strict=True))


def relative_difference(found: FloatArray, reference: FloatArray) -> float:
    """Largest absolute difference over the largest absolute reference value; infinite for NaN or unequal shapes."""
    if found.shape != reference.shape or not np.isfinite(found).all() or not np.isfinite(reference).all():
        return float("inf")
    largest = float(np.abs(reference).max(initial=0.0))
    difference = float(np.abs(found.astype(np.float64) - reference).max(initial=0.0))
    return difference / largest if largest > 0 else difference


def in_batches(images: NDArray[Number]) -> Iterator[NDArray[Number]]:
    """Slices of at most :data:`BATCH` images, so that large networks need little memory."""
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


def run_in_batches(runner: GraphRunner, images: FloatArray, source: str, output: str) -> FloatArray:
    """One output of a graph for the images (or features) that are its input ``source``."""
    return np.concatenate([runner({source: batch}, [output])[output] for batch in in_batches(images)])

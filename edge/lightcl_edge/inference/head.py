"""The learned head as an inference session."""

from typing import NamedTuple

from lightcl_edge.bundle.bundle import HEAD, Bundle
from lightcl_edge.bundle.graph_names import FEATURES, LOGITS, TAPS
from lightcl_edge.files.tensors import FloatArray, Parameters, check_parameters
from lightcl_edge.inference.sessions import inference_session


class HeadOutputs(NamedTuple):
    """Of ``n`` features: taps ``(n, tap_size)``, and unmasked logits ``(n, capacity)`` if they were wanted."""

    taps: FloatArray
    logits: FloatArray | None


class HeadSession:
    """Computes taps and logits with learned weights, or with the exported ones when ``parameters`` is None.

    A bundle's ``forward`` graph takes learned weights as inputs, so that memory holds them once. A bundle without
    training-step graphs has weights in ``head.onnx``. They are replaced, and the replaced ones stay in memory too.
    With the exported weights ``head.onnx`` is optimised fully, which is several times as fast.
    Raises BundleError when a name or shape is not the head's.
    """

    def __init__(self, bundle: Bundle, parameters: Parameters | None, threads: int | None) -> None:
        if parameters is None:
            self._inputs: Parameters = {}
            self._session = inference_session(bundle.path(HEAD), threads, fast=True)
            return
        expected = {p.name: tuple(p.shape) for p in bundle.manifest.head.parameters}
        weights = check_parameters(parameters, expected, "the learned head")
        forward = [graph.path for graph in bundle.manifest.training_step if graph.update == "forward"]
        self._inputs = weights if forward else {}
        replaced = None if forward else weights
        self._session = inference_session(bundle.path(forward[0] if forward else HEAD), threads, weights=replaced)

    def run(self, features: FloatArray, *, logits: bool = True) -> HeadOutputs:
        """Run the head once on features of shape ``(n, *feature_shape)``."""
        wanted = [TAPS, LOGITS] if logits else [TAPS]
        found = self._session.run(wanted, {FEATURES: features, **self._inputs})
        return HeadOutputs(found[0], found[1] if logits else None)

    def logits(self, features: FloatArray) -> FloatArray:
        """Unmasked logits of features of shape ``(n, *feature_shape)``; shape ``(n, capacity)``."""
        return self._session.run([LOGITS], {FEATURES: features, **self._inputs})[0]

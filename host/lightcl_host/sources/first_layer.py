"""Whether a network's first layer speaks against the pixels that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_host.graphs.graph import GraphView, to_array

if TYPE_CHECKING:
    import onnx

    from lightcl_edge.bundle.manifest import InputInfo

Doubles = NDArray[np.float64]
_SIDE = 64
#: A layer of pixels in 0..255 that gets small numbers moves by less than a twelfth of its bias.
_FAINT = 12.0
#: Standard deviation of pixels in 0..255, of which 0..1 have 1/255.
_BYTES = 255.0


def expects_bytes(graph: onnx.ModelProto, info: InputInfo) -> bool:
    """Whether the first convolution hardly notices pixels as ``info`` has them, and would those in 0..255.

    Bias against spread tells: batch normalisation, folded or not, leaves both of the same size where pixels are right.
    """
    found = _first_convolution(graph)
    if found is None:
        return False
    kernel, bias = found
    picture = _natural_picture()
    mean, std = (np.asarray(values, np.float64).reshape(3, 1, 1) for values in (info.mean, info.std))
    usual = float(np.median(np.abs(bias)))
    spread = _spread(kernel, (picture - mean) / std)
    return usual > 0 and spread * _FAINT < usual and spread < _spread(kernel, picture * _BYTES) / _FAINT


def _first_convolution(model: onnx.ModelProto) -> tuple[Doubles, Doubles] | None:
    """Kernel ``(filters, 3, height, width)`` and bias of the layer that reads the image alone."""
    view = GraphView(model)
    readers = view.consumers.get(view.graph.input[0].name, [])
    while len(readers) == 1 and view.graph.node[readers[0]].op_type in ("Pad", "Cast"):
        readers = view.consumers.get(view.graph.node[readers[0]].output[0], [])
    node = view.graph.node[readers[0]] if len(readers) == 1 else None
    if node is None or node.op_type != "Conv" or len(node.input) < 3:
        return None
    if any(name not in view.weights for name in node.input[1:3]):
        return None
    kernel, bias = (to_array(view.weights[name]).astype(np.float64) for name in node.input[1:3])
    return (kernel, bias) if kernel.ndim == 4 and kernel.shape[1] == 3 else None


def _spread(kernel: Doubles, image: Doubles) -> float:
    """Median over the filters of their standard deviation over an image ``(3, height, width)``."""
    height, width = kernel.shape[2:]
    patches = np.lib.stride_tricks.sliding_window_view(image, (height, width), axis=(1, 2))[:, ::4, ::4]
    rows = patches.transpose(1, 2, 0, 3, 4).reshape(-1, kernel[0].size)
    return float(np.median((rows @ kernel.reshape(len(kernel), -1).T).std(axis=0)))


def _natural_picture() -> Doubles:
    """Pixels in 0..1 with the spectrum of photographs: amplitude falls as one over frequency (Field, 1987)."""
    noise = np.random.default_rng(0).normal(size=(3, _SIDE, _SIDE))
    noise = 0.3 * noise + noise[:1]  # channels are much alike
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.fftfreq(_SIDE)[None])
    frequency[0, 0] = np.inf
    picture = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    picture = 0.45 + 0.25 * picture / picture.std(axis=(1, 2), keepdims=True)
    return np.asarray(picture.clip(0, 1))

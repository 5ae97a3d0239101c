"""The whole network as a torch module that can be trained, and that shows the features at every cut."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import IMAGE, LOGITS, PENULTIMATE
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.inference.trunk import normalise
from lightcl_edge.machine.freeing import trim_heap
from lightcl_host.cutting.classifier import install_classifier
from lightcl_host.cutting.cuts import Cut
from lightcl_host.cutting.head_parameters import complete_biases, name_parameters
from lightcl_host.graphs.runner import GraphRunner, in_batches
from lightcl_host.graphs.shapes import infer_shapes

if TYPE_CHECKING:
    import onnx
    import torch

    from lightcl_edge.learning.engines.torch_graph import GraphModule
    from lightcl_host.sources.source import Source

ByteImages = NDArray[np.uint8]

#: A longer gradient is shortened to this, so that any network stays finite at one learning rate. Batch normalisation,
#: which would keep it finite, is folded as on the device.
_LARGEST_GRADIENT = 1.0


class Network:
    """A network in normal form with a new classifier.

    Its weights are trained from the image on, or else from the first cut on. Features are shown at the given cuts.
    """

    def __init__(self, source: Source, cuts: Sequence[Cut], classes: int, seed: int) -> None:
        import torch

        model, self._input = source.graph, source.input_info
        start = trainable_from(source, cuts)
        self._trunk = None if start == IMAGE else GraphRunner(_extract(model, [IMAGE], [start]), 0)
        self._start = start
        body = _extract(model, [start], [LOGITS])
        penultimate = body.graph.node[-1].input[0]
        install_classifier(body, classes, False, seed)
        complete_biases(body)
        trained = list(name_parameters(body))
        # depthwise convolutions train a third faster with the channels last
        self._module = _load(infer_shapes(body), trained)
        self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
        self._cuts = {PENULTIMATE if cut.tensor == penultimate else cut.tensor: cut.name for cut in cuts}

    def _inputs(self, pixels: ByteImages) -> torch.Tensor:
        import torch

        images = normalise(pixels, self._input)
        if self._trunk is not None:
            parts = [self._trunk({IMAGE: part}, [self._start])[self._start] for part in in_batches(images)]
            images = np.concatenate(parts)
        found = torch.from_numpy(images)
        return found.contiguous(memory_format=torch.channels_last) if found.ndim == 4 else found

    def look(self, pixels: ByteImages, see: Callable[[str, torch.Tensor], None]) -> None:
        """Show the features of a few images at every cut to ``see``, with the cut's name."""
        import torch

        with torch.no_grad():
            for tensor, features in self._module.computed(self._inputs(pixels), self._cuts):
                see(self._cuts[tensor], features)

    def logits(self, pixels: ByteImages) -> FloatArray:
        """Logits of all classes, shape ``(n, classes)``."""
        import torch

        with torch.no_grad():
            return np.asarray(self._module(self._inputs(pixels), [LOGITS])[LOGITS].numpy())

    def step(self, pixels: ByteImages, labels: IntArray, classes: IntArray, learning_rate: float) -> float:
        """One step of plain SGD on the cross entropy over some classes; returns the loss before the step.

        ``labels`` ``(n,)`` are rows of all classes; ``classes`` are those that take part in the softmax.
        """
        import torch
        import torch.nn.functional as F  # noqa: N812 - torch's own customary name

        logits = self._module(self._inputs(pixels), [LOGITS])[LOGITS]
        columns = torch.from_numpy(classes)
        loss = F.cross_entropy(logits[:, columns], torch.from_numpy(np.searchsorted(classes, labels)))
        parameters = list(self._module.named_tensors().values())
        gradients = torch.autograd.grad(loss, parameters)
        length = torch.sqrt(sum((gradient.double() ** 2).sum() for gradient in gradients))  # type: ignore[arg-type]
        factor = learning_rate * min(1.0, _LARGEST_GRADIENT / max(float(length), 1e-12))
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=factor)
        trim_heap()
        return float(loss.detach())


def trainable_from(source: Source, cuts: Sequence[Cut]) -> str:
    """The tensor after which all weights can be trained: the image, or else the first trainable cut."""
    from lightcl_host.cutting.trainability import obstacle_from_image
    from lightcl_host.graphs.graph import GraphView

    return cuts[0].tensor if obstacle_from_image(GraphView(source.graph)) else IMAGE


def _extract(model: onnx.ModelProto, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if inputs == [IMAGE] and outputs == [LOGITS]:
        return copy
    part: onnx.ModelProto = onnx.utils.Extractor(copy).extract_model(inputs, outputs)
    result = onnx.ModelProto()
    result.CopyFrom(part)
    result.ir_version = model.ir_version
    return result


def _load(model: onnx.ModelProto, trained: list[str]) -> GraphModule:
    from lightcl_edge.learning.engines.torch_graph import load_module

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(model.SerializeToString())
        return load_module(path, trained)

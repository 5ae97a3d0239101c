"""Convolutions of one pixel as products of planes, which is what depthwise convolutions beside them work on.

With ``X`` of shape ``(channels, samples * pixels)``: ``Y = W X``, ``dX = W' dY`` and ``dW = dY X'``.
"""

from collections.abc import Collection, Sequence

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.convolution.planes import image_of, planes_of
from lightcl_host.autodiff.gradients import Gradient, PositionGradients


def is_pointwise_convolution(graph: GraphBuilder, node: ForwardNode, parameters: Collection[str]) -> bool:
    """True for a trained kernel of one pixel that reads every pixel of images of several."""
    kernel, image, out = (graph.shape(name) for name in (node.inputs[1], node.inputs[0], node.outputs[0]))
    one_to_one = kernel[2:] == (1, 1) and image[2:] == out[2:] != (1, 1) and not any(node.ints("pads", [0]))
    return one_to_one and node.ints("strides", [1, 1]) == [1, 1] and node.inputs[1] in parameters


class PointwiseConvolution:
    """Emits a convolution that :func:`is_pointwise_convolution` accepts, and its gradients."""

    def __init__(self, graph: GraphBuilder, node: ForwardNode) -> None:
        self._graph, self._node = graph, node
        self._image, self._kernel = node.inputs[:2]
        self._filters, self._channels = graph.shape(self._kernel)[:2]
        self._before, self._after = graph.shape(self._image), graph.shape(node.outputs[0])

    def emit_forward(self) -> None:
        graph, node = self._graph, self._node
        bias = [graph.reshape(node.inputs[2], [self._filters, 1])] if len(node.inputs) > 2 and node.inputs[2] else []
        made = graph.op("Gemm", self._weight(), self._columns(self._image, self._before), *bias)
        image_of(graph, made, self._after, node.outputs[0])

    def gradients(self, gradient: str, wanted: Sequence[bool]) -> list[Gradient]:
        """Emit the wanted gradients of image, kernel and bias."""
        graph, found = self._graph, list[Gradient]([None] * len(wanted))
        if wanted[0]:
            made = graph.op("Gemm", self._weight(), self._columns(gradient, self._after), transA=1)
            found[0] = image_of(graph, made, self._before)
        if wanted[1]:
            found[1] = self._kernel_gradient(gradient)
        if any(wanted[2:]):
            found[2] = graph.sum(planes_of(graph, gradient, self._after), [1, 2])
        return found

    def _kernel_gradient(self, gradient: str) -> PositionGradients:
        """What adds ``dW`` to the kernel."""
        graph = self._graph

        def add(bases: Sequence[str | None], scale: str | None) -> list[str]:
            first = graph.scaled(self._columns(gradient, self._after), scale)
            total = [graph.reshape(base, [self._filters, self._channels]) for base in bases if base]
            return [graph.op("Gemm", first, self._columns(self._image, self._before), *total, transB=1)]

        return PositionGradients([self._kernel], add)

    def _weight(self) -> str:
        return self._graph.reshape(self._kernel, [self._filters, self._channels])

    def _columns(self, image: str, shape: Sequence[int]) -> str:
        """An image of a shape with a column for each pixel of each sample."""
        return self._graph.reshape(planes_of(self._graph, image, shape), [shape[1], -1])

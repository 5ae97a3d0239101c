"""Grouped convolutions of small images as products of blocks: a block is all pixels of a group's channels.

A convolution is a linear map of each group's block, ``y_g = x_g T_g``. The matrix ``T_g`` holds the group's weights at
many places: before its axes are brought into order, ``T = W S``, where the constant ``S`` holds 1 where a position of
the kernel leads from a pixel to another, else 0. Likewise ``dx_g = dy_g T_g'``, and ``dW = G S'`` from ``G_g = x_g'
dy_g``. Depthwise convolutions have blocks of one channel (:mod:`lightcl_host.autodiff.convolution.planes`).

onnxruntime takes grouped convolutions group by group, each as products that are far too small. For 55 groups of 8
channels of 4 x 4 pixels, 47 samples and 2 threads (x86-64, AVX-512), a convolution with its gradients takes 7 ms
instead of 11; for 24 samples 4.8 instead of 5.7. With 8 x 8 pixels it would take 62 instead of 40.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.convolution.planes import image_of, planes_of, selection, turned_matrices
from lightcl_host.autodiff.convolution.window import window_of
from lightcl_host.autodiff.gradients import Gradient

#: With fewer samples, making the matrices takes as long as their products.
FEWEST_SAMPLES = 24
#: With larger matrices, of more than 32 channels of 4 x 4 pixels, products of zeros cost more than is saved.
LARGEST_MATRIX_BYTES = 2**20
#: The matrices made at one time take at most this.
CHUNK_BYTES = 4 * 2**20
_FLOAT_BYTES = 4


def is_block_convolution(graph: GraphBuilder, node: ForwardNode) -> bool:
    """True for a convolution of several small groups, many samples and few pixels.

    For an image of twice as many pixels as the kernel has, half of each matrix is zeros. With more, the products of
    zeros cost more than is saved.
    """
    if node.kind != "Conv" or len(graph.shape(node.inputs[1])) != 4:
        return False
    image, kernel, out = (graph.shape(name) for name in (*node.inputs[:2], node.outputs[0]))
    groups, before = int(node.attributes.get("group", 1)), math.prod(image[2:])
    numbers = kernel[1] * before * kernel[0] // groups * math.prod(out[2:])
    small = before <= 2 * math.prod(kernel[2:]) and _FLOAT_BYTES * numbers <= LARGEST_MATRIX_BYTES
    return groups > 1 and image[0] >= FEWEST_SAMPLES and small


class BlockConvolution:
    """Emits a convolution that :func:`is_block_convolution` accepts, and its gradients."""

    def __init__(self, graph: GraphBuilder, node: ForwardNode) -> None:
        self._graph, self._node = graph, node
        self._image, self._kernel = node.inputs[:2]
        self._groups = int(node.attributes["group"])
        shape = graph.shape(self._kernel)
        self._filters, self._channels = shape[0] // self._groups, shape[1]
        self._window = window_of(graph, node, shape[2:])
        self._before, self._after = math.prod(self._window.image), math.prod(self._window.out)
        self._blocks, self._places = "", ""

    def emit_forward(self) -> None:
        graph, made = self._graph, []
        self._blocks = self._blocks_of(self._image, graph.shape(self._image))
        self._places = graph.op("Cast", graph.constant(selection(self._window), np.uint8), to=onnx.TensorProto.FLOAT)
        for first, last in self._chunks():
            matrices = graph.transpose(self._weights_at(self._places, first, last), [0, 2, 3, 1, 4])
            matrices = graph.reshape(matrices, [last - first, self._channels * self._before, -1])
            made.append(graph.op("MatMul", self._some(self._blocks, first, last), matrices))
        shape = graph.shape(self._node.outputs[0])
        planes = self._planes_of(graph.joined(made, 0), shape)
        if len(self._node.inputs) > 2 and self._node.inputs[2]:
            planes = graph.op("Add", planes, graph.reshape(self._node.inputs[2], [shape[1], 1, 1]))
        image_of(graph, planes, shape, self._node.outputs[0])

    def gradients(self, gradient: str, wanted: Sequence[bool]) -> list[Gradient]:
        """Emit the wanted gradients of image, kernel and bias."""
        graph, found = self._graph, list[Gradient]([None] * len(wanted))
        shape, before = graph.shape(self._node.outputs[0]), graph.shape(self._image)
        blocks = self._blocks_of(gradient, shape)
        if wanted[0]:
            made, places = [], graph.transpose(self._places, [0, 2, 1])
            for first, last in self._chunks():
                matrices = graph.transpose(self._weights_at(places, first, last), [0, 1, 3, 2, 4])
                matrices = graph.reshape(matrices, [last - first, self._filters * self._after, -1])
                made.append(graph.op("MatMul", self._some(blocks, first, last), matrices))
            found[0] = image_of(graph, self._planes_of(graph.joined(made, 0), before), before)
        if wanted[1]:
            found[1] = graph.adder(self._kernel_gradient(blocks))
        if any(wanted[2:]):
            found[2] = graph.sum(planes_of(graph, gradient, shape), [1, 2])
        return found

    def _kernel_gradient(self, blocks: str) -> str:
        graph, parts = self._graph, []
        places = graph.reshape(self._places, [self._window.positions, self._before * self._after])
        for first, last in self._chunks():
            image = turned_matrices(graph, self._some(self._blocks, first, last))
            pairs = graph.op("MatMul", image, self._some(blocks, first, last))
            sides = [last - first, self._channels, self._before, self._filters, self._after]
            ordered = graph.transpose(graph.reshape(pairs, sides), [0, 3, 1, 2, 4])
            parts.append(graph.op("Gemm", graph.reshape(ordered, [-1, self._before * self._after]), places, transB=1))
        return graph.reshape(graph.joined(parts, 0), graph.shape(self._kernel))

    def _weights_at(self, places: str, first: int, last: int) -> str:
        """``W S`` of some groups, shape ``(groups, filters, channels, *pairs)``; ``S`` has two axes of pixels."""
        graph, positions = self._graph, self._window.positions
        weights = self._some(graph.reshape(self._kernel, [self._groups, -1, positions]), first, last)
        flat = graph.reshape(places, [positions, self._before * self._after])
        made = graph.op("Gemm", graph.reshape(weights, [-1, positions]), flat)
        sides = [self._before, self._after] if places == self._places else [self._after, self._before]
        return graph.reshape(made, [last - first, self._filters, self._channels, *sides])

    def _blocks_of(self, image: str, shape: Sequence[int]) -> str:
        """An image as blocks, shape ``(groups, samples, channels of a group * pixels)``."""
        graph, (samples, channels, *_) = self._graph, shape
        split = graph.reshape(planes_of(graph, image, shape), [self._groups, channels // self._groups, samples, -1])
        return graph.reshape(graph.transpose(split, [0, 2, 1, 3]), [self._groups, samples, -1])

    def _planes_of(self, blocks: str, shape: Sequence[int]) -> str:
        """Blocks of an image of this shape as planes."""
        graph, (samples, channels, *_) = self._graph, shape
        split = graph.reshape(blocks, [self._groups, samples, channels // self._groups, -1])
        return graph.reshape(graph.transpose(split, [0, 2, 1, 3]), [channels, samples, -1])

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """Groups in runs of nearly equal size."""
        matrix = _FLOAT_BYTES * self._channels * self._before * self._filters * self._after
        fitting = max(1, CHUNK_BYTES // matrix)
        size = -(-self._groups // -(-self._groups // fitting))
        for first in range(0, self._groups, size):
            yield first, min(first + size, self._groups)

    def _some(self, tensor: str, first: int, last: int) -> str:
        """Some groups of a tensor; its first axis are the groups."""
        if last - first == self._groups:
            return tensor
        return self._graph.slice(tensor, [first], [last], [0])

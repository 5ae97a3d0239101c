"""Grouped convolutions of small images as products of blocks: a block is all pixels of a group's channels.

``y_g = x_g T_g``, where ``T_g`` holds the group's weights at many places: but for the order of its axes, ``T = W S``
with ``S`` as for planes (``planes.py``). Likewise ``dx_g = dy_g T_g'``, and
``dW = G S'`` from ``G_g = x_g' dy_g``.

onnxruntime goes group by group. For 55 groups of 8 channels of 4 x 4 pixels, 47 samples and 2 threads (x86-64,
AVX-512), a convolution with its gradients took 11 ms so, and 7 as blocks; with 8 x 8 pixels 40 and 62.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.convolution.planes import image_of, planes_of, runs, selection, some_of, turned_matrices
from lightcl_host.autodiff.convolution.window import window_of
from lightcl_host.autodiff.gradients import Gradient

#: With fewer samples, making the matrices takes as long as their products.
FEWEST_SAMPLES = 24
#: With more than 32 channels of 4 x 4 pixels, products of zeros cost more than is saved.
LARGEST_MATRIX_BYTES = 2**20
#: The matrices made at one time take at most this.
CHUNK_BYTES = 4 * 2**20


def is_block_convolution(graph: GraphBuilder, node: ForwardNode) -> bool:
    """True for several small groups and many samples. With more than twice the kernel's pixels, zeros prevail."""
    if node.kind != "Conv" or len(graph.shape(node.inputs[1])) != 4:
        return False
    image, kernel, out = (graph.shape(name) for name in (*node.inputs[:2], node.outputs[0]))
    groups, before = int(node.attributes.get("group", 1)), math.prod(image[2:])
    numbers = kernel[1] * before * kernel[0] // groups * math.prod(out[2:])
    small = before <= 2 * math.prod(kernel[2:]) and 4 * numbers <= LARGEST_MATRIX_BYTES
    return groups > 1 and image[0] >= FEWEST_SAMPLES and small


class BlockConvolution:
    """Emits a convolution that :func:`is_block_convolution` accepts, and its gradients."""

    def __init__(self, graph: GraphBuilder, node: ForwardNode) -> None:
        self._graph, self._node = graph, node
        self._image, self._kernel = node.inputs[:2]
        self._groups, kernel = int(node.attributes["group"]), graph.shape(self._kernel)
        self._filters, self._channels = kernel[0] // self._groups, kernel[1]
        window = window_of(graph, node, kernel[2:])
        self._selection, self._positions = selection(window), window.positions
        self._sides = math.prod(window.image), math.prod(window.out)
        numbers = self._channels * self._filters * math.prod(self._sides)
        self._runs = runs(self._groups, max(1, CHUNK_BYTES // (4 * numbers)))
        self._blocks, self._places = "", ""

    def emit_forward(self) -> None:
        graph, shape = self._graph, self._graph.shape(self._node.outputs[0])
        self._blocks = self._blocks_of(self._image, graph.shape(self._image))
        self._places = graph.op("Cast", graph.constant(self._selection, np.uint8), to=onnx.TensorProto.FLOAT)
        planes = self._mapped(self._blocks, self._places, [0, 2, 3, 1, 4], shape)
        if len(self._node.inputs) > 2 and self._node.inputs[2]:
            planes = graph.op("Add", planes, graph.reshape(self._node.inputs[2], [shape[1], 1, 1]))
        image_of(graph, planes, shape, self._node.outputs[0])

    def gradients(self, gradient: str, wanted: Sequence[bool]) -> list[Gradient]:
        graph, found = self._graph, list[Gradient]([None] * len(wanted))
        before, shape = graph.shape(self._image), graph.shape(self._node.outputs[0])
        blocks = self._blocks_of(gradient, shape)
        if wanted[0]:
            places = graph.transpose(self._places, [0, 2, 1])
            found[0] = image_of(graph, self._mapped(blocks, places, [0, 1, 3, 2, 4], before), before)
        if wanted[1]:
            found[1] = graph.adder(self._kernel_gradient(blocks))
        if any(wanted[2:]):
            found[2] = graph.sum(planes_of(graph, gradient, shape), [1, 2])
        return found

    def _mapped(self, blocks: str, places: str, order: Sequence[int], shape: Sequence[int]) -> str:
        """Blocks times the matrices of their groups, as planes of an image of this shape.

        ``order`` is that of the axes of ``W S``, which are groups, filters, channels and those of the pixels.
        """
        graph, made, (samples, channels, *_) = self._graph, [], shape
        flat = graph.reshape(places, [self._positions, -1])
        sides = self._sides if places == self._places else self._sides[::-1]
        for first, last in self._runs:
            weights = some_of(
                graph, graph.reshape(self._kernel, [self._groups, -1, self._positions]), first, last, self._groups
            )
            product = graph.op("Gemm", graph.reshape(weights, [-1, self._positions]), flat)
            axes = [last - first, self._filters, self._channels, *sides]
            matrices = graph.transpose(graph.reshape(product, axes), order)
            matrices = graph.reshape(matrices, [last - first, -1, channels // self._groups * sides[1]])
            made.append(graph.op("MatMul", some_of(graph, blocks, first, last, self._groups), matrices))
        split = graph.reshape(graph.joined(made, 0), [self._groups, samples, channels // self._groups, -1])
        return graph.reshape(graph.transpose(split, [0, 2, 1, 3]), [channels, samples, -1])

    def _kernel_gradient(self, blocks: str) -> str:
        graph, parts = self._graph, []
        flat = graph.reshape(self._places, [self._positions, -1])
        for first, last in self._runs:
            image = turned_matrices(graph, some_of(graph, self._blocks, first, last, self._groups))
            pairs = graph.op("MatMul", image, some_of(graph, blocks, first, last, self._groups))
            axes = [last - first, self._channels, self._sides[0], self._filters, self._sides[1]]
            ordered = graph.transpose(graph.reshape(pairs, axes), [0, 3, 1, 2, 4])
            parts.append(graph.op("Gemm", graph.reshape(ordered, [-1, math.prod(self._sides)]), flat, transB=1))
        return graph.reshape(graph.joined(parts, 0), graph.shape(self._kernel))

    def _blocks_of(self, image: str, shape: Sequence[int]) -> str:
        """An image as blocks, shape ``(groups, samples, channels of a group * pixels)``."""
        graph, (samples, channels, *_) = self._graph, shape
        split = graph.reshape(planes_of(graph, image, shape), [self._groups, channels // self._groups, samples, -1])
        return graph.reshape(graph.transpose(split, [0, 2, 1, 3]), [self._groups, samples, -1])

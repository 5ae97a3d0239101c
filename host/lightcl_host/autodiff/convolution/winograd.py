"""Dense 3 x 3 convolutions of small images with 16 products for each 4 pixels of the result instead of 36.

This is F(2 x 2, 3 x 3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. An image is
read in tiles of 4 x 4 pixels that give 2 x 2 each. With ``V = B X``, for each of 16 terms ``M_t = V_t U_t'``, and
``Y = A M``. Backward, ``dM = A' dY``, ``dV_t = dM_t U_t``, ``dX = B' dV`` and ``dU_t = dM_t' V_t``.

An image lies pixels first, ``(pixels, samples, channels)``, so that ``A`` and ``B`` are products with small constant
matrices. The transformed kernels ``U`` are sums and differences of the kernel's positions; the halves that belong to
them are in ``B``. They are made again on the way back. Terms are made four at a time: nothing is ever sixteen times as
large as a position of the kernel.

For 512 channels of 4 x 4 pixels, 47 samples and 2 threads (x86-64, AVX-512), a convolution with its gradients takes 34
ms instead of 50; for 24 samples 27 instead of 35, for 12 samples 18 instead of 19. For 128 channels of 8 x 8 pixels it
takes 17 ms instead of 19.
"""

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import FEATURES, position_name
from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.convolution.window import window_of
from lightcl_host.autodiff.gradients import Gradient, PositionGradients

#: Above this many pixels of the image, the constant matrices cost more than the products that they save.
LARGEST_IMAGE = 64
#: With fewer rows of the result, sums of the kernel's positions take as long as the products that they save.
FEWEST_ROWS = 380
#: Micro-batches of fewer samples are there to save memory, and the sums take that of several positions.
FEWEST_SAMPLES = 24
#: With fewer channels or filters, all that lies between the products takes longer than what they save.
FEWEST_CHANNELS = 256

_SIDE, _TERMS = 3, 4
_INPUT = np.array([[1, 0, -1, 0], [0, 0.5, 0.5, 0], [0, -0.5, 0.5, 0], [0, 1, 0, -1]], np.float32)
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)


def is_winograd_convolution(graph: GraphBuilder, node: ForwardNode, parameters: Collection[str]) -> bool:
    """True for a trained dense kernel of 3 x 3 that moves by one pixel, of a small image with many channels.

    Sides of the result are even: tiles that reach beyond it would save less than half of the products.
    """
    filters, channels, *kernel = graph.shape(node.inputs[1])
    image, out = (graph.shape(name) for name in (node.inputs[0], node.outputs[0]))
    single = node.ints("strides", [1, 1]) == node.ints("dilations", [1, 1]) == [1, 1]
    small = math.prod(image[2:]) <= LARGEST_IMAGE and not any(side % 2 for side in out[2:])
    many = image[0] >= FEWEST_SAMPLES and image[0] * math.prod(out[2:]) >= FEWEST_ROWS
    many = many and min(filters, channels) >= FEWEST_CHANNELS
    return kernel == [_SIDE, _SIDE] and single and small and many and node.inputs[1] in parameters


class WinogradConvolution:
    """Emits a convolution that :func:`is_winograd_convolution` accepts, and its gradients."""

    def __init__(self, graph: GraphBuilder, node: ForwardNode) -> None:
        self._graph, self._node = graph, node
        self._image, self._kernel = node.inputs[:2]
        self._filters, self._channels = graph.shape(self._kernel)[:2]
        self._window = window_of(graph, node, (_SIDE, _SIDE))
        self._tiles = math.prod(self._window.out) // 4
        graph.positions[self._kernel] = list(range(_SIDE * _SIDE))

    def emit_forward(self) -> None:
        graph, window = self._graph, self._window
        image, total = pixels_of(graph, self._image), ""
        bias = [name for name in self._node.inputs[2:] if name]
        for row in range(_TERMS):
            image_terms = graph.op("Gemm", self._matrix(row, of_input=True), self._flat(image))
            terms, made = self._split(image_terms, self._channels), list[str]()
            for column, kernel in enumerate(self._kernels(row)):
                # each pixel of the result has the term (1, 1) once
                start = bias if row == column == 1 else []
                made.append(graph.op("Gemm", self._picked(terms, column), kernel, *start, transB=1))
            total = self._added(self._matrix(row, of_input=False), made, total)
        shape = [math.prod(window.out), window.samples, self._filters]
        image_of_pixels(graph, graph.reshape(total, shape), graph.shape(self._node.outputs[0]), self._node.outputs[0])

    def gradients(self, gradient: str, wanted: Sequence[bool]) -> list[Gradient]:
        """Emit the wanted gradients of image, kernel and bias."""
        graph, found = self._graph, list[Gradient]([None] * len(wanted))
        graph.shapes.setdefault(gradient, graph.shape(self._node.outputs[0]))
        pixels = pixels_of(graph, gradient)
        if wanted[0]:
            found[0] = self._image_gradient(pixels)
        if wanted[1]:
            names = [position_name(self._kernel, position) for position in graph.positions[self._kernel]]
            found[1] = PositionGradients(names, lambda bases, scale: self._updates(pixels, bases, scale))
        if any(wanted[2:]):
            found[2] = graph.sum(pixels, [0, 1])
        return found

    def _image_gradient(self, gradient: str) -> str:
        graph, total = self._graph, ""
        for row in range(_TERMS):
            terms = self._split(self._gradient_terms(self._flat(gradient), row, None), self._filters)
            made = [
                graph.op("Gemm", self._picked(terms, column), kernel)
                for column, kernel in enumerate(self._kernels(row))
            ]
            total = self._added(self._matrix(row, of_input=True), made, total, transposed=1)
        shape = graph.shape(self._image)
        return image_of_pixels(graph, graph.reshape(total, [math.prod(shape[2:]), *shape[:2]]), shape)

    def _updates(self, gradient: str, bases: Sequence[str | None], scale: str | None) -> list[str]:
        """``base + scale * dW`` of each position: sums of the terms' gradients ``dU``."""
        graph, flat, updated = self._graph, self._flat(gradient), [""] * len(bases)
        starts = [[base] if base else [] for base in bases]
        upper, sums = dict(self._three(self._factors(flat, 1, scale), [[]] * _SIDE)), [""] * _SIDE
        for column, lower in self._three(self._factors(flat, 2, scale), [[]] * _SIDE):
            sums[column] = graph.op("Add", upper[column], lower)
            apart = graph.op("Sub", upper[column], lower)
            updated[_SIDE + column] = self._plus(apart, starts[_SIDE + column])
        for row, first in ((0, 0), (_TERMS - 1, 2 * _SIDE)):
            some = [[sums[column], *starts[first + column]] for column in range(_SIDE)]
            for column, update in self._three(self._factors(flat, row, scale), some):
                updated[first + column] = update
        return updated

    def _three(self, factors: Sequence[tuple[str, str]], starts: Sequence[Sequence[str]]) -> Iterator[tuple[int, str]]:
        """Three columns of the kernel's gradient from four terms, each added to what it starts at."""
        graph = self._graph
        first, second = (graph.op("Gemm", *factors[column]) for column in (1, 2))
        both, apart = graph.op("Add", first, second), graph.op("Sub", first, second)
        yield 1, self._plus(apart, starts[1])
        yield 0, graph.op("Gemm", *factors[0], self._plus(both, starts[0]))
        yield 2, graph.op("Gemm", *factors[3], self._plus(both, starts[2]))

    def _plus(self, tensor: str, others: Sequence[str]) -> str:
        for other in others:
            tensor = self._graph.op("Add", tensor, other)
        return tensor

    def _factors(self, gradient: str, row: int, scale: str | None) -> list[tuple[str, str]]:
        """What four terms' ``dU`` are products of: ``dM'`` and ``V``. A pair is needed no longer than its product."""
        graph = self._graph
        terms = self._split(self._gradient_terms(gradient, row, scale), self._filters)
        image = graph.op("Gemm", self._matrix(row, of_input=True), self._flat(pixels_of(graph, self._image)))
        pair = graph.transpose(terms, [0, 2, 1]), self._split(image, self._channels)
        return [(self._picked(pair[0], column), self._picked(pair[1], column)) for column in range(_TERMS)]

    def _gradient_terms(self, gradient: str, row: int, scale: str | None) -> str:
        """``dM`` of four terms, shape ``(4 * tiles, samples * filters)``."""
        graph = self._graph
        return graph.op("Gemm", graph.scaled(self._matrix(row, of_input=False), scale), gradient, transA=1)

    def _added(self, matrix: str, terms: Sequence[str], total: str, transposed: int = 0) -> str:
        """Four terms, each of ``(tiles * samples, width)``, brought to pixels and added to those before."""
        graph = self._graph
        rows = [graph.reshape(term, [self._tiles, -1]) for term in terms]
        return graph.op("Gemm", matrix, graph.joined(rows, 0), *filter(None, [total]), transA=transposed)

    def _kernels(self, row: int) -> Iterator[str]:
        """The transformed kernels of four terms, ``(filters, channels)`` each, without their halves."""
        graph, names = self._graph, [position_name(self._kernel, position) for position in range(_SIDE * _SIDE)]
        first, second, third = (self._along_column(names[column::_SIDE], row) for column in range(_SIDE))
        yield first
        ends = graph.op("Add", first, third)
        yield graph.op("Add", ends, second)
        yield graph.op("Sub", ends, second)
        yield third

    def _along_column(self, three: Sequence[str], row: int) -> str:
        """A column of the kernel in one of four terms: its first, its sum, the same less twice its second, its last."""
        if row in (0, _TERMS - 1):
            return three[min(row, _SIDE - 1)]
        graph = self._graph
        return graph.op("Add" if row == 1 else "Sub", graph.op("Add", three[0], three[2]), three[1])

    def _flat(self, pixels: str) -> str:
        """An image as a matrix with a row for each pixel."""
        return self._graph.reshape(pixels, [self._graph.shape(pixels)[0], -1])

    def _split(self, terms: str, width: int) -> str:
        """Four terms as matrices, shape ``(4, tiles * samples, width)``."""
        return self._graph.reshape(terms, [_TERMS, self._tiles * self._window.samples, width])

    def _picked(self, terms: str, column: int) -> str:
        return self._graph.op("Gather", terms, self._graph.constant(column, np.int64), axis=0)

    def _matrix(self, row: int, *, of_input: bool) -> str:
        """Four of the sixteen terms of ``B``, shape ``(4 * tiles, pixels)``, or of ``A``, with the sides exchanged."""
        window = self._window
        if of_input:
            first, second = (_read(window.image[i], window.out[i], window.before[i]) for i in (0, 1))
            whole = np.einsum("ap,vbq->vabpq", first[row], second)
            return self._graph.constant(whole.reshape(_TERMS * self._tiles, -1))
        first, second = (_written(window.out[i]) for i in (0, 1))
        whole = np.einsum("pa,qvb->pqvab", first[:, row], second)
        return self._graph.constant(whole.reshape(-1, _TERMS * self._tiles))


def _read(image: int, out: int, before: int) -> NDArray[np.float32]:
    """``B`` along one side of an image, shape ``(terms, tiles, image)``."""
    tiles = out // 2
    matrix = np.zeros((_TERMS, tiles, image), np.float32)
    for tile in range(tiles):
        for place in range(_TERMS):
            pixel = 2 * tile + place - before
            if 0 <= pixel < image:
                matrix[:, tile, pixel] = _INPUT[:, place]
    return matrix


def _written(out: int) -> NDArray[np.float32]:
    """``A`` along one side of the result, shape ``(out, terms, tiles)``."""
    matrix = np.zeros((out, _TERMS, out // 2), np.float32)
    for pixel in range(out):
        matrix[pixel, :, pixel // 2] = _OUTPUT[pixel % 2]
    return matrix


def pixels_of(graph: GraphBuilder, image: str) -> str:
    """An image as its pixels, shape ``(pixels, samples, channels)``, made once for all that read them."""
    if image not in graph.pixels:
        samples, channels, height, width = graph.shape(image)
        parts = graph.feature_parts if image == FEATURES else [image]
        flat = [graph.reshape(part, [-1, channels, height * width]) for part in parts]
        made = graph.joined([graph.transpose(part, [2, 0, 1]) for part in flat], 1)
        graph.shapes[made] = (height * width, samples, channels)
        graph.pixels[image] = made
    return graph.pixels[image]


def image_of_pixels(graph: GraphBuilder, pixels: str, shape: Sequence[int], output: str | None = None) -> str:
    """Pixels as an image of this shape."""
    return graph.op("Reshape", graph.transpose(pixels, [1, 2, 0]), graph.ints(shape), output=output)

"""Dense convolutions as products of rows: a row is a pixel with all its channels.

For each kernel position ``t``, ``y += shift(x) W_t'``, ``dx += shift(dy) W_t`` and ``dW_t += dy' shift(x)``, where
shifting is a Gather of whole rows. Each is one matrix product without an unfolded image (im2col), which would be
``positions`` times as large as the image. Kernels of more than one position are held positions first, ``(positions,
filters, channels)``. Each position is an input of the graph, named by
:func:`lightcl_edge.bundle.graph_names.position_name`.
"""

from collections.abc import Collection, Sequence

import numpy as np

from lightcl_edge.bundle.graph_names import FEATURES, position_name
from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.convolution.pixel_indices import OUTSIDE, Pixels, Reached, reached_from, read_by
from lightcl_host.autodiff.convolution.window import Window, window_of
from lightcl_host.autodiff.gradients import Gradient, PositionGradients


def is_dense_convolution(graph: GraphBuilder, node: ForwardNode) -> bool:
    """True for a convolution of one group in two dimensions."""
    return node.kind == "Conv" and int(node.attributes.get("group", 1)) == 1 and len(graph.shape(node.inputs[1])) == 4


class RowConvolution:
    """Emits a dense convolution that :func:`is_dense_convolution` accepts, and its gradients.

    A kernel that is none of the trained ``parameters`` is taken apart in the graph.
    """

    def __init__(self, graph: GraphBuilder, node: ForwardNode, parameters: Collection[str]) -> None:
        self._graph, self._node = graph, node
        self._image, self._kernel = node.inputs[:2]
        self._filters, self._channels = graph.shape(self._kernel)[:2]
        self._window: Window = window_of(graph, node, graph.shape(self._kernel)[2:])
        self._reads = {
            position: pixels for position, pixels in enumerate(read_by(self._window)) if (pixels != OUTSIDE).any()
        }
        if any((pixels == OUTSIDE).any() for pixels in self._reads.values()):
            graph.padded.add(self._image)
        self._trained, self._apart = self._kernel in parameters, ""
        if self._trained and self._window.positions > 1:
            graph.positions[self._kernel] = sorted(self._reads)

    def emit_forward(self) -> None:
        graph, window = self._graph, self._window
        total = self._node.inputs[2] if len(self._node.inputs) > 2 and self._node.inputs[2] else None
        for position in self._reads:
            read = self._shifted_image(position)
            total = graph.op("Gemm", read, self._weight(position), *filter(None, [total]), transB=1)
        if not self._reads:  # all windows in the padding
            zero = graph.constant(np.zeros((window.samples * window.out[0] * window.out[1], self._filters)))
            total = graph.op("Add", zero, total) if total else zero
        self._to_image(str(total), self._filters, window.out, self._node.outputs[0])

    def _image_gradient(self, gradient: str, groups: Sequence[Reached]) -> str:
        """``dX``, shape ``(samples, channels, *image)``."""
        graph, window = self._graph, self._window
        reached = [group for group in groups if group.positions]
        if not reached:
            return graph.constant(np.zeros((window.samples, self._channels, *window.image)))
        rows = rows_of(graph, gradient)
        parts = []
        for group in reached:
            total = None
            for position, out in group.positions.items():
                shifted = self._shifted(rows, out, window.out, self._filters)
                total = graph.op("Gemm", shifted, self._weight(position), *filter(None, [total]))
            parts.append(graph.reshape(str(total), [window.samples, len(group.pixels), self._channels]))
        pixels = np.concatenate([group.pixels for group in reached])
        return self._to_image(self._in_order(parts, pixels), self._channels, window.image)

    def _in_order(self, parts: Sequence[str], pixels: Pixels) -> str:
        """All rows of the image, from those of the groups; pixels in no group are zero."""
        graph, count = self._graph, self._window.image[0] * self._window.image[1]
        rows = graph.joined(parts, 1)
        if np.array_equal(pixels, np.arange(count)):
            return rows
        if len(pixels) < count:
            rows = graph.op("Pad", rows, graph.ints([0, 0, 0, 0, 1, 0]))
        where = np.full(count, len(pixels), np.int64)
        where[pixels] = np.arange(len(pixels))
        return graph.op("Gather", rows, graph.constant(where, np.int64), axis=1)

    def _kernel_gradient(self, gradient: str) -> PositionGradients:
        """What adds ``dW`` to each position; for a kernel of one position, to the kernel itself."""
        graph = self._graph
        if not self._reads and self._window.positions == 1:  # it only ever meets padding: nothing to add
            none = graph.constant(np.zeros((self._filters, self._channels, 1, 1)))
            return PositionGradients(self._names(), lambda bases, _: [graph.op("Identity", bases[0] or none)])

        def add(bases: Sequence[str | None], scale: str | None) -> list[str]:
            first = graph.scaled(self._pixels(rows_of(graph, gradient), self._window.out, self._filters), scale)
            added = []
            for position, base in zip(self._reads, bases, strict=True):
                total = graph.reshape(base, [self._filters, self._channels]) if base else None
                added.append(graph.op("Gemm", first, self._shifted_image(position), *filter(None, [total]), transA=1))
            return added

        return PositionGradients(self._names(), add)

    def _whole_kernel_gradient(self, gradient: str) -> str:
        """``dW`` of a kernel that is computed, as one tensor."""
        graph, (rows, columns) = self._graph, self._window.kernel
        shape = [1, self._filters, self._channels]
        none = graph.constant(np.zeros(shape))
        added = dict(
            zip(self._reads, self._kernel_gradient(gradient).add([None] * len(self._reads), None), strict=True)
        )
        parts = [graph.reshape(added[at], shape) if at in added else none for at in range(self._window.positions)]
        stacked = graph.op("Concat", *parts, axis=0)
        return graph.transpose(graph.reshape(stacked, [rows, columns, *shape[1:]]), [2, 3, 0, 1])

    def _names(self) -> list[str]:
        if self._window.positions == 1:
            return [self._kernel]
        return [position_name(self._kernel, position) for position in self._reads]

    def _weight(self, position: int) -> str:
        """The kernel at one of its positions, shape ``(filters, channels)``."""
        graph, matrix = self._graph, [self._filters, self._channels]
        if self._window.positions == 1:
            return graph.reshape(self._kernel, matrix)
        if self._trained:
            return position_name(self._kernel, position)
        if not self._apart:
            self._apart = graph.reshape(graph.transpose(self._kernel, [2, 3, 0, 1]), [self._window.positions, *matrix])
        return graph.op("Gather", self._apart, graph.constant(position, np.int64), axis=0)

    def _shifted_image(self, position: int) -> str:
        """One row for each output pixel: the input pixel that it reads through the kernel position."""
        return self._shifted(
            rows_of(self._graph, self._image), self._reads[position], self._window.image, self._channels
        )

    def _shifted(self, rows: str, pixels: Pixels, sides: tuple[int, int], width: int) -> str:
        """Rows in another order, as a matrix; for those outside the image, the row of zeros at the end."""
        graph, count = self._graph, sides[0] * sides[1]
        if np.array_equal(pixels, np.arange(count)):
            return self._pixels(rows, sides, width)
        places = graph.constant(np.where(pixels == OUTSIDE, count, pixels), np.int64)
        return graph.reshape(graph.op("Gather", rows, places, axis=1), [-1, width])

    def _pixels(self, rows: str, sides: tuple[int, int], width: int) -> str:
        """The rows of all pixels as a matrix, without the row of zeros."""
        graph, count = self._graph, sides[0] * sides[1]
        if graph.shape(rows)[1] > count:
            rows = graph.slice(rows, [0], [count], [1])
        return graph.reshape(rows, [-1, width])

    def _to_image(self, rows: str, channels: int, sides: tuple[int, int], output: str | None = None) -> str:
        """Rows as an image, channels first."""
        graph, samples = self._graph, self._window.samples
        shape = graph.ints([samples, channels, *sides])
        if sides != (1, 1):
            rows = graph.transpose(graph.reshape(rows, [samples, sides[0] * sides[1], channels]), [0, 2, 1])
        return graph.op("Reshape", rows, shape, output=output)

    def gradients(self, gradient: str, wanted: Sequence[bool]) -> list[Gradient]:
        """Emit the wanted gradients of image, kernel and bias."""
        window, found = self._window, list[Gradient]([None] * len(wanted))
        self._graph.shapes.setdefault(gradient, (window.samples, self._filters, *window.out))
        groups = reached_from(window) if wanted[0] else []
        if any((out == OUTSIDE).any() for group in groups for out in group.positions.values()):
            self._graph.padded.add(gradient)
        if wanted[0]:
            found[0] = self._image_gradient(gradient, groups)
        if wanted[1]:
            found[1] = self._kernel_gradient(gradient) if self._trained else self._whole_kernel_gradient(gradient)
        if any(wanted[2:]):
            found[2] = self._graph.sum(rows_of(self._graph, gradient), [0, 1])
        return found


def rows_of(graph: GraphBuilder, image: str) -> str:
    """An image as rows, shape ``(samples, pixels, channels)``, made once for all that read them.

    A row of zeros follows where ``graph.padded`` holds the image.
    """
    samples, channels, height, width = graph.shape(image)
    pixels = height * width
    if image not in graph.rows:
        parts = graph.feature_parts if image == FEATURES else [image]
        if pixels == 1:
            made = [graph.reshape(part, [-1, pixels, channels]) for part in parts]
        else:
            made = [graph.transpose(graph.reshape(part, [-1, channels, pixels]), [0, 2, 1]) for part in parts]
        rows = graph.joined(made, 0)
        graph.shapes[rows] = (samples, pixels, channels)
        graph.rows[image] = rows
    if image in graph.padded and graph.shape(graph.rows[image])[1] == pixels:
        padded = graph.op("Pad", graph.rows[image], graph.ints([0, 0, 0, 0, 1, 0]))
        graph.shapes[padded] = (samples, pixels + 1, channels)
        graph.rows[image] = padded
    return graph.rows[image]

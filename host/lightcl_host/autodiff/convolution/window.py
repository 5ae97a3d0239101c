"""Sides, strides and pads of a two-dimensional window operator, read once and checked."""

from dataclasses import dataclass

from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder, Shape

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """How a kernel moves over an image; all pairs are (rows, columns)."""

    samples: int  # batch size
    channels: int  # of the input
    image: Pair  # sides of the input
    out: Pair  # sides of the output
    kernel: Pair  # sides of the kernel
    strides: Pair  # steps between windows
    dilations: Pair  # steps between positions of the kernel
    before: Pair  # pads at the start
    after: Pair  # pads at the end; with ceil mode, as far as the last window reaches

    @property
    def pads(self) -> list[int]:
        """As ONNX writes them: both starts, then both ends."""
        return [*self.before, *self.after]

    @property
    def padded(self) -> Pair:
        """Sides of the padded image."""
        first, second = (self.before[i] + self.image[i] + self.after[i] for i in (0, 1))
        return first, second

    @property
    def extent(self) -> Pair:
        """Reach of the kernel beyond its first position."""
        first, second = (self.dilations[i] * (self.kernel[i] - 1) for i in (0, 1))
        return first, second

    @property
    def remainder(self) -> Pair:
        """Rows and columns at the end that no window reaches because of the stride."""
        first, second = ((self.padded[i] - self.extent[i] - 1) % self.strides[i] for i in (0, 1))
        return first, second

    @property
    def positions(self) -> int:
        return self.kernel[0] * self.kernel[1]


def _automatic_pads(kind: bytes, shape: Shape, out: Shape, kernel: Pair, strides: Pair, dilations: Pair) -> list[int]:
    totals = [max((out[2 + i] - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - shape[2 + i], 0) for i in (0, 1)]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*small, *large] if kind == b"SAME_UPPER" else [*large, *small]


def window_of(graph: GraphBuilder, node: ForwardNode, kernel: tuple[int, ...]) -> Window:
    """The window of a Conv or pooling node, with explicit pads.

    Raises BundleError when the operator has not two dimensions, or a window lies outside the image.
    """
    shape, out = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    if len(shape) != 4 or len(kernel) != 2:
        raise BundleError(f"head.onnx: {node.describe()} has {len(shape) - 2} dimensions, expected 2 to train it")
    sides: Pair = (kernel[0], kernel[1])
    first, second = node.ints("strides", [1, 1])
    strides: Pair = (first, second)
    first, second = node.ints("dilations", [1, 1])
    dilations: Pair = (first, second)
    pads = node.ints("pads", [0] * 4)
    automatic = node.attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        pads = _automatic_pads(automatic, shape, out, sides, strides, dilations)
    reach = [strides[i] * (out[2 + i] - 1) + dilations[i] * (sides[i] - 1) + 1 - shape[2 + i] - pads[i] for i in (0, 1)]
    starts = [strides[i] * (out[2 + i] - 1) for i in (0, 1)]
    if node.attributes.get("ceil_mode") and any(starts[i] >= shape[2 + i] + pads[i] for i in (0, 1)):
        # ceil mode with strides longer than the kernel; onnxruntime, ONNX and PyTorch disagree on these
        raise BundleError(f"head.onnx: {node.describe()} has windows wholly outside its image, expected none")
    after = (max(pads[2], reach[0]), max(pads[3], reach[1]))
    image = (shape[2], shape[3])
    return Window(shape[0], shape[1], image, (out[2], out[3]), sides, strides, dilations, (pads[0], pads[1]), after)

"""The gradient of ConvTranspose: its input is what a convolution with the same kernel gives for its output."""

from collections.abc import Sequence

from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.convolution.window import Pair, Window
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.conv import kernel_gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule, saves_inputs


def _window(graph: GraphBuilder, node: ForwardNode) -> Window:
    """The window of the convolution that leads from the output back to the input."""
    shape, out, kernel = (graph.shape(name) for name in (node.inputs[0], node.outputs[0], node.inputs[1]))
    if len(shape) != 4:
        raise BundleError(f"head.onnx: {node.describe()} has {len(shape) - 2} dimensions, expected 2 to train it")
    if node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise BundleError(f"head.onnx: {node.describe()} leaves its pads to the runtime, expected stated ones")

    def pair(values: Sequence[int]) -> Pair:
        return (values[0], values[1])

    pads = node.ints("pads", [0] * 4)
    strides, dilations = pair(node.ints("strides", [1, 1])), pair(node.ints("dilations", [1, 1]))
    sides = (pair(out[2:]), pair(shape[2:]), pair(kernel[2:]))
    return Window(shape[0], out[1], *sides, strides, dilations, pair(pads[:2]), pair(pads[2:]))


@rule("ConvTranspose", saves=saves_inputs)
def conv_transpose(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Gradients of image, kernel and bias."""
    node, gradient, (image, kernel) = back.node, back.gradient, back.node.inputs[:2]
    window, groups = _window(graph, node), int(node.attributes.get("group", 1))
    gradients = list[Gradient]([None] * len(back.wanted))
    if back.wanted[0]:
        gradients[0] = graph.op(
            "Conv",
            gradient,
            kernel,
            group=groups,
            strides=list(window.strides),
            dilations=list(window.dilations),
            pads=window.pads,
        )
    if back.wanted[1]:
        kernel_change = kernel_gradient(graph, gradient, image, window, graph.shape(kernel), groups)
        gradients[1] = graph.adder(kernel_change)
    if any(back.wanted[2:]):
        gradients[2] = graph.sum(gradient, [0, 2, 3])
    return gradients

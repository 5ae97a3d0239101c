"""Small ONNX files with one oddity each, as exporters other than PyTorch's write them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

SIDE, CLASSES, _WIDTH = 32, 10, 16


class _Network:
    """Two convolutions and a mean over space, to which a file adds its oddity."""

    def __init__(self, dtype: type[np.generic] = np.float32) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.dtype = dtype
        self._random = np.random.default_rng(0)

    def constant(self, values: object, dtype: type[np.generic] | None = None) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype or self.dtype), name))
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(self._random.normal(0, np.prod(shape[1:]) ** -0.5, shape))

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        out = f"t{len(self.nodes)}"
        node = helper.make_node(kind, list(inputs), [out])
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.nodes.append(node)
        return out

    def features(self, image: str) -> str:
        """A map of ``(n, 16, 8, 8)``."""
        for channels in (3, _WIDTH):
            weights = [self.weight(_WIDTH, channels, 3, 3), self.weight(_WIDTH)]
            image = self.add("Relu", self.add("Conv", image, *weights, strides=[2, 2], pads=[1, 1, 1, 1]))
        return image

    def vector(self, image: str) -> str:
        return self.add("Flatten", self.add("GlobalAveragePool", self.features(image)))

    def classifier(self, vector: str) -> str:
        return self.add("Gemm", vector, self.weight(CLASSES, _WIDTH), self.weight(CLASSES), transB=1)

    def save(self, path: Path, out: str, shape: list[int | str] | None = None, opset: int = 17) -> None:
        shape, kind = shape or ["n", 3, SIDE, SIDE], helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        ends = [helper.make_tensor_value_info("image", kind, shape)]
        self.nodes.append(helper.make_node("Identity", [out], ["logits"]))
        logits = [helper.make_tensor_value_info("logits", kind, [shape[0], CLASSES])]
        graph = helper.make_graph(self.nodes, "odd", ends, logits, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.save(model, str(path))


def _plain(path: Path, shape: list[int | str] | None = None, opset: int = 17) -> None:
    net = _Network()
    net.save(path, net.classifier(net.vector("image")), shape, opset)


def _half(path: Path) -> None:
    net = _Network(np.float16)
    net.save(path, net.classifier(net.vector("image")))


def _ending(kind: str, path: Path) -> None:
    net = _Network()
    out = net.classifier(net.vector("image"))
    net.save(path, net.add(kind, out, axis=1) if kind == "Softmax" else net.add(kind, out))


def _convolution_classifier(path: Path) -> None:
    net = _Network()
    out = net.add("Conv", net.features("image"), net.weight(CLASSES, _WIDTH, 1, 1), net.weight(CLASSES))
    net.save(path, net.add("Flatten", net.add("GlobalAveragePool", out)))


def _product_classifier(path: Path) -> None:
    net = _Network()
    product = net.add("MatMul", net.vector("image"), net.weight(_WIDTH, CLASSES))
    net.save(path, net.add("Add", product, net.weight(CLASSES)))


def _two_classifiers(path: Path) -> None:
    net = _Network()
    vector = net.vector("image")
    both = net.add("Add", net.classifier(vector), net.classifier(vector))
    net.save(path, net.add("Div", both, net.constant(2.0)))


def _channels_last(path: Path) -> None:
    net = _Network()
    image = net.add("Transpose", "image", perm=[0, 3, 1, 2])
    net.save(path, net.classifier(net.vector(image)), ["n", SIDE, SIDE, 3])


def _preprocessing(path: Path) -> None:
    net = _Network()
    image = net.add("Div", net.add("Sub", "image", net.constant(np.full((1, 3, 1, 1), 127.0))), net.constant(128.0))
    net.save(path, net.classifier(net.vector(image)))


def _tokens(path: Path) -> None:
    net = _Network()
    places = net.add("Reshape", net.features("image"), net.constant([0, _WIDTH, -1], np.int64))
    tokens = net.add("Transpose", places, perm=[0, 2, 1])
    for _ in range(2):
        query, key = (net.add("MatMul", tokens, net.weight(_WIDTH, _WIDTH)) for _ in range(2))
        shares = net.add("Softmax", net.add("MatMul", query, net.add("Transpose", key, perm=[0, 2, 1])), axis=-1)
        tokens = net.add("Add", tokens, net.add("MatMul", shares, tokens))
    net.save(path, net.classifier(net.add("ReduceMean", tokens, axes=[1], keepdims=0)))


#: Name -> what writes the file.
ODD_FILES: dict[str, Callable[[Path], None]] = {
    "plain": _plain,
    "opset 13": partial(_plain, opset=13),
    "one image": partial(_plain, shape=[1, 3, SIDE, SIDE]),
    "float16": _half,
    "softmax last": partial(_ending, "Softmax"),
    "sigmoid last": partial(_ending, "Sigmoid"),
    "convolution as classifier": _convolution_classifier,
    "product and sum as classifier": _product_classifier,
    "two averaged classifiers": _two_classifiers,
    "channels last": _channels_last,
    "preprocessing inside": _preprocessing,
    "attention by hand": _tokens,
}

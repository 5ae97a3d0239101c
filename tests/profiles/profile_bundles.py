"""A bundle small enough to make in a test: real manifest and whole network, the rest only listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lightcl_edge.bundle.manifest import (
    CostInfo,
    FeatureInfo,
    GoldenInfo,
    HeadInfo,
    InputInfo,
    Manifest,
    ModelInfo,
    ParameterInfo,
    TapInfo,
)
from lightcl_edge.bundle.writing import write_bundle

SIDE, CHANNELS, OLD_CLASSES = 8, 4, 7


def small_network(last: str = "Gemm") -> bytes:
    """Convolution, BatchNorm, ReLU, mean, then a classifier made of ``last``."""
    random = np.random.default_rng(0)

    def array(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
    ]
    weights = [array("w", CHANNELS, 3, 3, 3), *(array(name, CHANNELS) for name in "gbm")]
    weights.append(numpy_helper.from_array(np.ones(CHANNELS, np.float32), "v"))
    if last == "Conv":
        nodes.append(helper.make_node("Conv", ["p", "k", "z"], ["logits"], kernel_shape=[1, 1]))
        weights += [array("k", OLD_CLASSES, CHANNELS, 1, 1), array("z", OLD_CLASSES)]
    else:
        nodes.append(helper.make_node("Flatten", ["p"], ["f"]))
        if last == "Gemm":
            nodes.append(helper.make_node("Gemm", ["f", "k", "z"], ["logits"], transB=1))
            weights += [array("k", OLD_CLASSES, CHANNELS), array("z", OLD_CLASSES)]
        else:
            nodes += [helper.make_node("MatMul", ["f", "k"], ["q"]), helper.make_node("Add", ["q", "z"], ["logits"])]
            weights += [array("k", CHANNELS, OLD_CLASSES), array("z", OLD_CLASSES)]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "small", [image], [logits], weights)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


def make_bundle(folder: Path, *, whole: bytes | None, model: str = "small.onnx") -> Path:
    """A bundle whose manifest and whole network are real."""
    parameters = [ParameterInfo("classifier.weight", [16, CHANNELS]), ParameterInfo("classifier.bias", [16])]
    manifest = Manifest(
        model=ModelInfo(model, "none", "pool", "fp32", 17, "1.20"),
        input=InputInfo(SIDE, SIDE, "stretch", 1.0, "bilinear", [0.5] * 3, [0.25] * 3, "RGB"),
        feature=FeatureInfo([CHANNELS], [0.1], [0]),
        head=HeadInfo(16, CHANNELS, ["Gemm"], parameters, ["logits"], [TapInfo("penultimate", CHANNELS)]),
        golden=GoldenInfo(1, 0.1, 0.1),
        cost=CostInfo(1, 1, 1, 1, 1, 1, 1, 1),
    )
    names = ("trunk.onnx", "head.onnx", "head.safetensors", "golden.safetensors")
    files = dict.fromkeys(names, b"not read by the profiler")
    write_bundle(folder / "bundle", manifest, files if whole is None else {**files, "model.onnx": whole})
    return folder / "bundle"


def make_images(folder: Path, classes: list[str], count: int = 4) -> Path:
    """Class folders of random pictures."""
    random = np.random.default_rng(1)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(0, 256, (SIDE + 2, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder

"""A tiny network as a bundle, and folders of simple pictures: enough for the device to learn from in a second."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
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
    TrainingDefaults,
)
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.files.tensors import write_tensors
from lightcl_host.cutting.taps import Tap, TapPlace, add_taps

# Multiples of 16, so that onnxruntime chooses the same kernels as for a real network.
SIDE, CHANNELS, HIDDEN, CAPACITY = 16, 16, 32, 6
TAPPED = [
    Tap(TapPlace("penultimate", "penultimate", (HIDDEN,))),
    Tap(TapPlace("features", "features", (CHANNELS, 4, 4))),
]
INPUT = InputInfo(SIDE, SIDE, "stretch", 1.0, "bilinear", [0.5] * 3, [0.25] * 3, "RGB")
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "grey": (128, 128, 128)}


def _model(nodes, inputs, outputs, weights):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs]
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "graph", values, results, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def trunk_bytes(rng):
    """Conv (stride 4) and ReLU: (n, 3, 16, 16) -> (n, 16, 4, 4)."""
    weights = {
        "stem.weight": rng.normal(0, 0.3, (CHANNELS, 3, 4, 4)).astype(np.float32),
        "stem.bias": rng.normal(0, 0.1, CHANNELS).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "stem.weight", "stem.bias"], ["stem"], strides=[4, 4]),
        helper.make_node("Relu", ["stem"], ["features"]),
    ]
    inputs, outputs = [("image", ["n", 3, SIDE, SIDE])], [("features", ["n", CHANNELS, 4, 4])]
    return _model(nodes, inputs, outputs, weights)


def head_parts(rng):
    """Conv, ReLU, mean, linear: the graph's bytes and its trained tensors."""
    weights = {
        "block.weight": rng.normal(0, 0.2, (HIDDEN, CHANNELS, 3, 3)).astype(np.float32),
        "block.bias": rng.normal(0, 0.1, HIDDEN).astype(np.float32),
        "classifier.weight": rng.normal(0, 0.01, (CAPACITY, HIDDEN)).astype(np.float32),
        "classifier.bias": np.zeros(CAPACITY, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["features", "block.weight", "block.bias"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["penultimate"]),
        helper.make_node("Gemm", ["penultimate", "classifier.weight", "classifier.bias"], ["logits"], transB=1),
    ]
    outputs = [("logits", ["n", CAPACITY]), ("penultimate", ["n", HIDDEN]), ("relu", ["n", HIDDEN, 4, 4])]
    head = onnx.load_from_string(_model(nodes, [("features", ["n", CHANNELS, 4, 4])], outputs, weights))
    add_taps(head, TAPPED)
    onnx.checker.check_model(head, full_check=True)
    return head.SerializeToString(), weights


HEAD = HeadInfo(
    CAPACITY,
    HIDDEN,
    ["Conv", "Flatten", "Gemm", "GlobalAveragePool", "Relu"],
    [
        ParameterInfo("block.weight", [HIDDEN, CHANNELS, 3, 3]),
        ParameterInfo("block.bias", [HIDDEN]),
        ParameterInfo("classifier.weight", [CAPACITY, HIDDEN]),
        ParameterInfo("classifier.bias", [CAPACITY]),
    ],
    ["relu", "logits"],
    [TapInfo("penultimate", HIDDEN), TapInfo("features", CHANNELS)],
)
FEATURE = FeatureInfo([CHANNELS, 4, 4], [0.05], [0])
DEFAULTS = TrainingDefaults(epochs=8, batch_size=8, learning_rate=0.05, buffer_samples=4)


@cache
def training_steps():
    """The ort engine's graphs; they hold no weights, so one set serves every seed."""
    from lightcl_host.autodiff.training_step import step_graphs

    head = onnx.load_from_string(head_parts(np.random.default_rng(0))[0])
    return step_graphs(head, HEAD, [CHANNELS, 4, 4], [DEFAULTS.batch_size], DEFAULTS.buffer_samples)


def make_bundle(out: Path, seed: int = 0, *, steps: bool = True, **changes) -> Path:
    """Write the tiny bundle, with or without graphs for the ort engine; ``changes`` replace fields of its manifest."""
    import onnxruntime

    rng = np.random.default_rng(seed)
    trunk, (head, weights) = trunk_bytes(rng), head_parts(rng)
    images = rng.integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    planes = ((images.astype(np.float32) / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2)
    features = onnxruntime.InferenceSession(trunk).run(None, {"image": np.ascontiguousarray(planes)})[0]
    logits, taps = onnxruntime.InferenceSession(head).run(["logits", "taps"], {"features": features})
    manifest = Manifest(
        model=ModelInfo("tiny", "none", "stem", "fp32", 20, "1.20"),
        input=INPUT,
        feature=FEATURE,
        head=training_steps().head if steps else HEAD,
        golden=GoldenInfo(2, 1e-3, 1e-3),
        cost=CostInfo(3136, 4096, 12_288, 19_352, 2200, 2048, 74_000, 2072),
        defaults=DEFAULTS,
        training_step=training_steps().records if steps else [],
    )
    scratch = out.parent / f"{out.name}.scratch"
    write_tensors(scratch, weights)
    parameters = scratch.read_bytes()
    write_tensors(scratch, {"images": images, "features": features, "logits": logits, "taps": taps})
    golden = scratch.read_bytes()
    scratch.unlink()
    files = {"trunk.onnx": trunk, "head.onnx": head, "head.safetensors": parameters, "golden.safetensors": golden}
    if steps:
        files |= training_steps().files
    write_bundle(out, replace(manifest, **changes), files)
    return out


def wide_bundle(out: Path, capacity: int, monkeypatch) -> Path:
    """The tiny bundle with a classifier of so many rows."""
    shapes = {"classifier.weight": [capacity, HIDDEN], "classifier.bias": [capacity]}
    parameters = [replace(each, shape=shapes.get(each.name, each.shape)) for each in HEAD.parameters]
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "CAPACITY", capacity)
        patch.setitem(globals(), "HEAD", replace(HEAD, capacity=capacity, parameters=parameters))
        patch.setitem(globals(), "training_steps", cache(training_steps.__wrapped__))
        return make_bundle(out)


def make_folder(out: Path, names, count: int = 12, seed: int = 0) -> Path:
    """Noisy pictures of one colour a class, as PNG files."""
    rng = np.random.default_rng(seed)
    for name in names:
        (out / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = rng.normal(COLOURS[name], 120, (20, 20, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(out / name / f"{index}.png")
    return out

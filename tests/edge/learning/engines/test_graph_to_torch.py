"""The graph as a torch module against onnxruntime, and the torch engine against plain autograd."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.graph_names import MASKED_LOGIT
from lightcl_edge.errors import BundleError
from lightcl_edge.learning.engines.contract import Batch, PatternTerm
from lightcl_edge.learning.engines.torch_engine import TorchEngine
from lightcl_edge.learning.engines.torch_graph import load_module
from small_bundle import CAPACITY, CHANNELS, HIDDEN, make_bundle


def agree(tmp_path, nodes, shape, weights=(), outputs=("y",), seed=0):
    """Both runtimes give the same for one small graph."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    value = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(list(outputs), {"x": value})
    found = load_module(tmp_path / "g.onnx").eval()(torch.from_numpy(value))
    for name, array in zip(outputs, expected, strict=True):
        assert found[name].shape == array.shape
        assert np.allclose(found[name].detach().numpy(), array, rtol=1e-4, atol=1e-5)


def f32(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


NODE = helper.make_node
CASES = {
    "relu": ([NODE("Relu", ["x"], ["y"])], []),
    "clip": ([NODE("Clip", ["x", "lo", "hi"], ["y"])], [("lo", np.float32(-0.5)), ("hi", np.float32(0.5))]),
    "clip above": ([NODE("Clip", ["x", "", "hi"], ["y"])], [("hi", np.float32(0.5))]),
    "hard swish": ([NODE("HardSwish", ["x"], ["y"])], []),
    "hard sigmoid": ([NODE("HardSigmoid", ["x"], ["y"], alpha=0.3, beta=0.4)], []),
    "silu": ([NODE("Sigmoid", ["x"], ["s"]), NODE("Mul", ["x", "s"], ["y"])], []),
    "global pool": ([NODE("GlobalAveragePool", ["x"], ["p"]), NODE("Flatten", ["p"], ["y"])], []),
    "mean": ([NODE("ReduceMean", ["x", "a"], ["y"], keepdims=0)], [("a", i64(2, 3))]),
    "convolution over one axis": (
        [NODE("Reshape", ["x", "s"], ["r"]), NODE("Conv", ["r", "w"], ["y"])],
        [("s", i64(0, 0, -1)), ("w", f32(4, 4, 3))],
    ),
    "reshape": ([NODE("Reshape", ["x", "s"], ["y"])], [("s", i64(0, 2, -1))]),
    "shuffle": ([NODE("Transpose", ["x"], ["y"], perm=[0, 2, 1, 3])], []),
    "split": (
        [NODE("Split", ["x", "s"], ["a", "b"], axis=1), NODE("Concat", ["b", "a"], ["y"], axis=1)],
        [("s", i64(1, 3))],
    ),
    "split evenly": (
        [NODE("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), NODE("Sub", ["b", "a"], ["y"])],
        [],
    ),
    "slice": (
        [NODE("Slice", ["x", "b", "e", "a", "t"], ["y"])],
        [("b", i64(-1, 1)), ("e", i64(-(2**40), 4)), ("a", i64(2, 3)), ("t", i64(-1, 2))],
    ),
    "pad": ([NODE("Pad", ["x", "p"], ["y"])], [("p", i64(0, 0, 1, 0, 0, 0, 2, 3))]),
    "squeeze": (
        [NODE("Unsqueeze", ["x", "a"], ["u"]), NODE("Squeeze", ["u", "a"], ["y"])],
        [("a", i64(2))],
    ),
    "matmul": ([NODE("Flatten", ["x"], ["f"]), NODE("MatMul", ["f", "w"], ["y"])], [("w", f32(100, 3))]),
    "gemm": (
        [NODE("Flatten", ["x"], ["f"]), NODE("Gemm", ["f", "w", "b"], ["y"], transB=1, alpha=0.5, beta=2.0)],
        [("w", f32(3, 100)), ("b", f32(3))],
    ),
    "max pool": ([NODE("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 0])], []),
    "average pool": (
        [NODE("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
        [],
    ),
    "batch norm": (
        [NODE("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])],
        [("s", f32(4)), ("b", f32(4)), ("m", f32(4)), ("v", np.abs(f32(4)) + 0.1)],
    ),
    "identity": ([NODE("Identity", ["x"], ["i"]), NODE("Dropout", ["i"], ["y"])], []),
}


@pytest.mark.parametrize("case", CASES)
def test_operators_against_onnxruntime(tmp_path, case):
    nodes, weights = CASES[case]
    agree(tmp_path, nodes, [2, 4, 5, 5], weights)


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    group=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
)
def test_convolutions_against_onnxruntime(tmp_path_factory, kernel, strides, dilations, pads, group, bias):
    weights = [("w", f32(8, 4 // group, *kernel)), *([("b", f32(8))] if bias else [])]
    node = NODE(
        "Conv",
        ["x", *[name for name, _ in weights]],
        ["y"],
        strides=strides,
        dilations=dilations,
        pads=pads,
        group=group,
    )
    agree(tmp_path_factory.mktemp("conv"), [node], [2, 4, 7, 6], weights)


def test_an_operator_outside_the_list_is_named(tmp_path):
    with pytest.raises(BundleError, match="operator Sin can't be run in torch"):
        agree(tmp_path, [NODE("Sin", ["x"], ["y"])], [1, 2])


def batch_of(rng, count=5, buffered=3):
    offset = rng.normal(size=(count, CAPACITY)).astype(np.float32)
    offset[:, 4:] = MASKED_LOGIT
    held = np.arange(CAPACITY, dtype=np.float32) < 4
    weights = np.full(count, 1 / count, np.float32)
    features = np.abs(rng.normal(size=(count, CHANNELS, 4, 4))).astype(np.float32)
    old = np.abs(rng.normal(size=(buffered, CHANNELS, 4, 4))).astype(np.float32)
    targets = {
        "relu": np.abs(rng.normal(size=(buffered, HIDDEN, 4, 4))).astype(np.float32),
        "logits": rng.normal(size=(buffered, CAPACITY)).astype(np.float32),
    }
    masks = {"relu": (rng.random(HIDDEN) < 0.4).astype(np.float32), "logits": held.astype(np.float32)}
    labels = rng.integers(0, 4, count)
    return Batch(features, labels, offset, weights, 0.05, PatternTerm(old, targets, masks, 0.01))


class Reference(torch.nn.Module):
    """The tiny head written by hand."""

    def __init__(self, parameters):
        super().__init__()
        self.conv = torch.nn.Conv2d(CHANNELS, HIDDEN, 3, padding=1)
        self.classifier = torch.nn.Linear(HIDDEN, CAPACITY)
        self.names = dict(
            zip(
                ("block.weight", "block.bias", "classifier.weight", "classifier.bias"),
                (self.conv.weight, self.conv.bias, self.classifier.weight, self.classifier.bias),
                strict=True,
            )
        )
        with torch.no_grad():
            for name, tensor in self.names.items():
                tensor.copy_(torch.from_numpy(parameters[name]))

    def forward(self, x):
        hidden = torch.relu(self.conv(x))
        return hidden, self.classifier(hidden.mean(dim=(2, 3)))


def reference_step(model, batch):
    """The contract's loss and one SGD step, in plain PyTorch."""
    t = torch.from_numpy
    _, logits = model(t(batch.features))
    masked = logits + t(batch.logit_offset)
    entropy = torch.logsumexp(masked, 1) - masked[torch.arange(len(masked)), t(batch.labels)]
    loss = (entropy * t(batch.weights)).sum()
    if batch.patterns is not None:
        hidden, logits = model(t(batch.patterns.features))
        term = (
            t(batch.patterns.masks["relu"])[None, :, None, None] * (hidden - t(batch.patterns.targets["relu"])) ** 2
        ).sum()
        term = (
            term + (t(batch.patterns.masks["logits"])[None] * (logits - t(batch.patterns.targets["logits"])) ** 2).sum()
        )
        loss = loss + batch.patterns.beta * term
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        for tensor, gradient in zip(model.parameters(), gradients, strict=True):
            tensor.sub_(batch.learning_rate * gradient)
    return float(loss.detach())


def test_twenty_steps_equal_plain_autograd(tmp_path):
    bundle = Bundle.open(make_bundle(tmp_path / "b"))
    start = bundle.head_parameters()
    engine = TorchEngine(bundle.path("head.onnx"), bundle.manifest.head, 1)
    engine.load(start)
    model, rng = Reference(start), np.random.default_rng(0)
    for step in range(20):
        batch = batch_of(rng)
        if step % 3 == 0:
            batch = Batch(batch.features, batch.labels, batch.logit_offset, batch.weights, batch.learning_rate)
        before = batch.features.copy()
        assert engine.step(batch) == pytest.approx(reference_step(model, batch), rel=1e-5)
        assert (batch.features == before).all()
    for name, found in engine.parameters().items():
        expected = model.names[name].detach().numpy()
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_engine_refuses_other_parameters(tmp_path):
    bundle = Bundle.open(make_bundle(tmp_path / "b"))
    engine = TorchEngine(bundle.path("head.onnx"), bundle.manifest.head, 1)
    with pytest.raises(BundleError, match="only in the file or only in the manifest"):
        engine.load({"other": np.zeros(3, np.float32)})

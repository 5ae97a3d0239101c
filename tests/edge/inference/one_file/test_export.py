"""One ONNX file, opened by plain onnxruntime and onnx.checker, gives what the device predicts."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.manifest import GoldenInfo
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import write_tensors
from lightcl_edge.inference.one_file.graph import JoinedGraph
from lightcl_edge.inference.predictor import Predictor
from small_bundle import INPUT, SIDE, make_bundle, make_folder

TRAIN = ("--engine", "ort", "--epochs", "3", "--threads", "1", "--quiet")


def teach(edge, bundle, folder, strategy):
    data = make_folder(folder / "data", ["red", "green"], count=20)
    state = folder / "state"
    edge("train", "--bundle", bundle, "--state", state, "--data", data, "--strategy", strategy, *TRAIN)
    return state


def pictures(count=9, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def planes(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def opened(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module", params=["slda", "replay", "lightcl", "finetune"])
def taught(edge, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp(request.param)
    return teach(edge, make_bundle(folder / "bundle"), folder, request.param)


def test_the_file_gives_what_the_device_predicts(edge, taught, tmp_path):
    out = tmp_path / "learned.onnx"
    document = json.loads(edge("export", "--state", taught, "--out", out, "--json")[0])
    onnx.checker.check_model(str(out), full_check=True)
    images, session = pictures(), opened(out)
    expected = Predictor(taught).scores(images)
    assert document["inputs"] == {"image": ["n", 3, SIDE, SIDE]} and document["largest_difference"] < 1e-4
    assert list(document["outputs"]) == ["probabilities", "unknown_score"] == [o.name for o in session.get_outputs()]
    found, scores = session.run(None, {"image": planes(images)})
    assert found == pytest.approx(expected.probabilities, abs=1e-4)
    assert scores == pytest.approx(expected.novelty, rel=1e-3, abs=1e-3)
    one = session.run(["probabilities"], {"image": planes(images[:1])})[0]
    assert one == pytest.approx(expected.probabilities[:1], abs=1e-4)
    assert not list(tmp_path.glob("*.new"))


def test_logits_and_no_score(edge, taught, tmp_path):
    whole, out = tmp_path / "whole.onnx", tmp_path / "logits.onnx"
    edge("export", "--state", taught, "--out", whole)
    document = json.loads(edge("export", "--state", taught, "--out", out, "--logits", "--no-unknown", "--json")[0])
    assert list(document["outputs"]) == ["logits"] and document["bytes"] < whole.stat().st_size
    logits = opened(out).run(None, {"image": planes(pictures())})[0]
    assert softmax(logits) == pytest.approx(Predictor(taught).scores(pictures()).probabilities, abs=1e-4)


def test_the_metadata_names_classes_and_input(edge, taught, tmp_path):
    edge("export", "--state", taught, "--out", tmp_path / "a.onnx")
    found = opened(tmp_path / "a.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(found["classes"]) == ["green", "red"] and found["labels"].split("\n") == ["green", "red"]
    pixels = json.loads(found["input"])
    assert (pixels["channel_order"], pixels["range"], pixels["layout"]) == ("RGB", [0, 255], "NCHW")
    assert json.loads(found["normalisation"])["mean"] == INPUT.mean
    threshold = Predictor(taught).classifier.threshold()
    assert float(found["unknown_above"]) == pytest.approx(threshold)


def changed(plain, out, files, **changes):
    """The bundle with some other files and fields of its manifest."""
    bundle = Bundle.open(plain)
    kept = {name: (plain / name).read_bytes() for name in bundle.all_files() if name != "manifest.json"}
    write_bundle(out, replace(bundle.manifest, files=[], **changes), kept | files)
    return out


def test_a_network_that_wants_blue_first(edge, tmp_path):
    plain = make_bundle(tmp_path / "plain")
    golden = Bundle.open(plain).golden()
    write_tensors(tmp_path / "golden", golden | {"images": np.ascontiguousarray(golden["images"][..., ::-1])})
    files = {"golden.safetensors": (tmp_path / "golden").read_bytes()}
    bundle = changed(plain, tmp_path / "bgr", files, input=replace(INPUT, channel_order="BGR"))
    state = teach(edge, bundle, tmp_path, "slda")
    edge("export", "--state", state, "--out", tmp_path / "a.onnx")
    found = opened(tmp_path / "a.onnx").run(["probabilities"], {"image": planes(pictures())})[0]
    assert found == pytest.approx(Predictor(state).scores(pictures()).probabilities, abs=1e-4)


def test_an_8_bit_trunk(edge, tmp_path):
    from lightcl_host.trunks.int8 import quantize_trunk

    plain, images = make_bundle(tmp_path / "plain"), pictures(16)
    trunk = quantize_trunk(onnx.load(plain / "trunk.onnx"), (planes(images) / 255 - 0.5) / 0.25)
    manifest, files = Bundle.open(plain).manifest, {"trunk.onnx": trunk.SerializeToString()}
    model = replace(manifest.model, trunk_dtype="int8")
    changed(plain, tmp_path / "int8", files, model=model, golden=GoldenInfo(2, 0.1, 0.1))
    state = teach(edge, tmp_path / "int8", tmp_path, "replay")
    document = json.loads(edge("export", "--state", state, "--out", tmp_path / "a.onnx", "--json")[0])
    operators = {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    options = onnxruntime.SessionOptions()
    stated = json.loads(opened(tmp_path / "a.onnx").get_modelmeta().custom_metadata_map["session_options"])
    assert document["needs"].items() <= stated.items()
    for name, value in stated.items():
        options.add_session_config_entry(name, value)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), options, providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"image": planes(images)})[0]
    assert found == pytest.approx(Predictor(state).scores(images).probabilities, abs=1e-4)


def test_a_wrong_file_is_not_left_and_the_old_one_stays(edge, taught, tmp_path, monkeypatch):
    out = tmp_path / "a.onnx"
    edge("export", "--state", taught, "--out", out)
    before, constant = out.read_bytes(), JoinedGraph.constant
    wrong = {"pixel_scale": 5}
    monkeypatch.setattr(JoinedGraph, "constant", lambda s, n, v: constant(s, n, v * np.float32(wrong.get(n, 1))
                        if n in wrong else v))  # fmt: skip
    assert "would give other results" in edge("export", "--state", taught, "--out", out, code=3)[1]
    assert out.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize(
    ("out", "words"),
    [("a.tflite", "ends in .onnx"), ("none/a.onnx", "there is no folder"), ("folder.onnx", "is a folder")],
)
def test_places_that_do_not_do(edge, taught, tmp_path, out, words):
    (tmp_path / "folder.onnx").mkdir()
    assert words in edge("export", "--state", taught, "--out", tmp_path / out, code=2)[1]
    assert words not in edge("export", "--state", taught, "--out", taught / "a.onnx", code=2)[1]
    assert not (taught / "a.onnx").exists()


def test_no_state_and_a_damaged_trunk(edge, taught, tmp_path):
    assert "no state at" in edge("export", "--state", tmp_path / "no", "--out", tmp_path / "a.onnx", code=6)[1]
    copy = shutil.copytree(taught, tmp_path / "state")
    (copy / "bundle" / "trunk.onnx").write_bytes((copy / "bundle" / "trunk.onnx").read_bytes()[:-9] + b"123456789")
    assert "trunk.onnx is damaged" in edge("export", "--state", copy, "--out", tmp_path / "a.onnx", code=3)[1]
    assert not (tmp_path / "a.onnx").exists()


def graph_file(path, nodes, weights=(), opset=20):
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])  # noqa: E731
    tensors = [numpy_helper.from_array(array, name) for name, array in weights]
    graph = helper.make_graph(nodes, "g", [value("x")], [value("y")], tensors)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10).SerializeToString()
    )
    return path


def test_names_inside_branches_get_the_prefix_too(tmp_path):
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, ["n"])
    one = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["inner"])], "then", [], [value])
    other = helper.make_graph([helper.make_node("Mul", ["x", "unused"], ["inner"])], "else", [], [value])
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=one, else_branch=other)]
    weights = [("yes", np.array(True)), ("two", np.float32(2)), ("unused", np.float32(9)), ("spare", np.float32(1))]
    joined = JoinedGraph()
    joined.operator("Identity", ["image"], "a/x")
    joined.add_file(graph_file(tmp_path / "if.onnx", nodes, weights), "a/")
    (tmp_path / "out.onnx").write_bytes(b"".join(joined.model({"image": ["n"]}, {"a/y": ["n"]}, {"é": "ü"})))
    model = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert sorted(tensor.name for tensor in model.graph.initializer) == ["a/two", "a/unused", "a/yes"]
    session = opened(tmp_path / "out.onnx")
    assert session.run(None, {"image": np.float32([1, 3])})[0].tolist() == [2, 6]
    assert session.get_modelmeta().custom_metadata_map == {"é": "ü"}


def test_parts_that_do_not_fit(tmp_path):
    node = [helper.make_node("Relu", ["x"], ["y"])]
    joined = JoinedGraph()
    joined.add_file(graph_file(tmp_path / "a.onnx", node), "a/")
    with pytest.raises(BundleError, match="in versions 20 and 18"):
        joined.add_file(graph_file(tmp_path / "b.onnx", node, opset=18), "b/")
    with pytest.raises(BundleError, match=r"no weights \['w'\]"):
        joined.add_file(tmp_path / "a.onnx", "c/", {"w": np.zeros(1, np.float32)})
    (tmp_path / "c.onnx").write_bytes(b"\x3a\xff\xff\x03")
    with pytest.raises(BundleError, match="not a readable ONNX file"):
        joined.add_file(tmp_path / "c.onnx", "d/")


BROWSER = """
const ort = require('onnxruntime-web');
(async () => {
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(process.argv[2]);
  const {shape, pixels} = JSON.parse(require('fs').readFileSync(process.argv[3]));
  const found = await session.run({image: new ort.Tensor('float32', Float32Array.from(pixels), shape)});
  console.log(JSON.stringify(Array.from(found.probabilities.data)));
})();
"""


@pytest.mark.slow
def test_a_browsers_runtime_gives_the_same(edge, taught, tmp_path):
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    fetched = subprocess.run(
        ["npm", "install", "--no-fund", "--no-audit", "onnxruntime-web@1.30.0"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    if fetched.returncode:
        pytest.skip("npm can't fetch onnxruntime-web")
    edge("export", "--state", taught, "--out", tmp_path / "a.onnx")
    images = pictures()
    (tmp_path / "run.js").write_text(BROWSER)
    (tmp_path / "in.json").write_text(
        json.dumps({"shape": [9, 3, SIDE, SIDE], "pixels": planes(images).ravel().tolist()})
    )
    ran = subprocess.run(
        ["node", "run.js", "a.onnx", "in.json"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    expected = Predictor(taught).scores(images).probabilities
    assert np.reshape(json.loads(ran.stdout), expected.shape) == pytest.approx(expected, abs=1e-4)


def test_opencv_gives_the_same(edge, taught, tmp_path):
    cv2 = pytest.importorskip("cv2")
    edge("export", "--state", taught, "--out", tmp_path / "a.onnx")
    images, network = pictures(), cv2.dnn.readNetFromONNX(str(tmp_path / "a.onnx"))
    network.setInput(cv2.dnn.blobFromImages(list(images[..., ::-1]), swapRB=True))
    found, scores = network.forward(["probabilities", "unknown_score"])
    expected = Predictor(taught).scores(images)
    assert found == pytest.approx(expected.probabilities, abs=1e-4)
    assert scores.ravel() == pytest.approx(expected.novelty, rel=1e-3, abs=1e-3)

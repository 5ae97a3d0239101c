"""What computes trunk and head, with made-up providers and a made-up CUDA: it degrades to the processor."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.manifest import parse_manifest
from lightcl_edge.errors import BundleError
from lightcl_edge.inference import providers
from lightcl_edge.inference.providers import (
    CLASSES,
    CPU,
    CUDA,
    TENSORRT,
    ProviderChoice,
    foresee,
    open_with,
    options_of,
    wanted,
)
from lightcl_edge.learning.engines import select, torch_engine
from lightcl_edge.learning.engines.select import choose_engine, torch_may_use_cuda
from lightcl_edge.learning.engines.torch_engine import TorchEngine, choose_device
from small_bundle import HEAD, make_bundle, make_folder

ALL = list(CLASSES.values())


class Session:
    """What onnxruntime gives: the providers that were loaded."""

    def __init__(self, names, missing=()):
        self.names = [name if isinstance(name, str) else name[0] for name in names]
        self.loaded = [name for name in self.names if name not in missing]

    def get_providers(self):
        return self.loaded


@pytest.fixture
def manifest(bundle):
    return Bundle.open(bundle).manifest


def test_the_order_is_the_users_then_the_bundles_then_cuda(manifest):
    assert wanted(None, manifest) == ([CUDA, CPU], "the default")
    jetson = replace(manifest, providers=[TENSORRT, CUDA])
    assert wanted(None, jetson) == ([TENSORRT, CUDA, CPU], "of the bundle's device")
    assert wanted("cpu", jetson) == ([CPU], "asked for")
    assert wanted("tensorrt", manifest) == ([TENSORRT, CPU], "asked for")


def test_the_first_that_loads_computes():
    order = [TENSORRT, CUDA, CPU]
    session, choice = open_with(order, "asked for", "fp16", ALL, Session)
    assert (choice.name, choice.reason) == ("tensorrt", "asked for") and session.loaded[0] == CLASSES[TENSORRT]
    _, choice = open_with(order, "asked for", "fp16", ALL, lambda names: Session(names, [CLASSES[TENSORRT]]))
    assert (choice.name, choice.reason) == ("cuda", "asked for; tensorrt does not load here")
    _, choice = open_with(order, "asked for", "fp16", ALL, lambda names: Session(names, ALL[:2]))
    assert choice.name == "cpu" and choice.reason.startswith("tensorrt does not load here; cuda does not load here; ")
    assert choice.reason.endswith("it computes the half-precision trunk in float32")
    _, choice = open_with(order, "asked for", "fp32", [CLASSES[CPU]], Session)
    assert choice.reason == "tensorrt is not in this onnxruntime; cuda is not in this onnxruntime"
    _, choice = open_with([CUDA, CPU], "the default", "fp32", [CLASSES[CPU]], Session)
    assert choice == ProviderChoice(CPU, "the default")  # nobody asked for CUDA


def test_a_provider_that_does_not_accept_the_graph_is_passed_over():
    def make(names):
        if not isinstance(names[0], str) and names[0][0] == CLASSES[TENSORRT]:
            raise RuntimeError("no plan for node Conv_1\nand more")
        return Session(names)

    _, choice = open_with([TENSORRT, CUDA, CPU], "asked for", "fp32", ALL, make)
    assert choice.name == "cuda" and "tensorrt does not accept the trunk (no plan for node Conv_1)" in choice.reason

    def broken(names):
        raise RuntimeError("damaged")

    with pytest.raises(RuntimeError, match="damaged"):  # what the processor refuses is the graph's fault
        open_with([CUDA, CPU], "asked for", "fp32", ALL, broken)


def test_an_8_bit_trunk_stays_on_the_processor_unless_tensorrt_takes_it(manifest):
    eight = replace(manifest, model=replace(manifest.model, trunk_dtype="int8"), providers=[CUDA])
    assert foresee(None, eight, ALL).name == "cpu"
    assert "no 8-bit convolutions" in foresee(None, eight, ALL).reason
    assert foresee("tensorrt", eight, ALL).name == "tensorrt" and options_of(TENSORRT, "int8")["trt_int8_enable"] == "1"
    assert options_of(TENSORRT, "fp16")["trt_fp16_enable"] == "1" and options_of(CUDA, "fp16")["use_tf32"] == "0"
    assert options_of(CPU, "fp32") == {}


def test_sessions_fall_back_and_say_so(edge, bundle, tmp_path, monkeypatch):
    data, state = make_folder(tmp_path / "d", ["red", "green"]), tmp_path / "s"
    words = ("train", "--bundle", bundle, "--state", state, "--data", data)
    document = json.loads(edge(*words, "--provider", "cuda", "--json")[0])
    assert document["trunk_provider"] == {"name": "cpu", "reason": "cuda is not in this onnxruntime"}
    assert document["engine_device"] == "cpu"
    # an onnxruntime that has CUDA and can't load it, as on a board with the wrong JetPack: it goes on without, silently
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CLASSES[CUDA], CLASSES[CPU]])
    text = edge("train", "--state", state, "--data", data, "--verbose")[0]
    assert "  steps on cpu: " in text and "  images on cpu: cuda does not" in text
    assert "images on cpu, steps on cpu" in edge("status", "--state", state)[0]
    found = json.loads(edge("predict", "--state", state, data / "red" / "0.png", "--json")[0])
    assert found["trunk_provider"]["name"] == "cpu"
    edge("verify", bundle, "--provider", "tensorrt")


def test_wrong_providers_are_refused(manifest):
    content = json.loads(manifest.to_json())
    for wrong in (["npu"], ["cuda"] * 4, "cuda"):
        with pytest.raises(BundleError, match="providers"):
            parse_manifest(json.dumps(content | {"providers": wrong}).encode())


def test_bundles_for_a_jetson_name_its_providers():
    from lightcl_host.export.cut_choice import providers_of

    assert providers_of("jetson-orin-nano") == [TENSORRT, CUDA, CPU] and providers_of("jetson-nano") == [CPU]
    assert providers_of("rpi4-2gb") == providers_of(None) == providers_of("this-machine") == []


# torch on CUDA


def test_cuda_is_taken_where_it_computes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Orin")
    real = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *shape, device: real(shape))
    assert choose_device() == ("cuda", "Orin")
    monkeypatch.setattr(torch, "ones", lambda *shape, device: real(shape) * 3)
    assert choose_device() == ("cpu", "CUDA computes wrongly here (a product gave 72.0, expected 8)")

    def broken(*shape, device):
        raise RuntimeError("no kernel image is available for execution on the device\nCompile with")

    monkeypatch.setattr(torch, "ones", broken)
    expected = "CUDA does not work here: no kernel image is available for execution on the device"
    assert choose_device() == ("cpu", expected)


def test_without_cuda_the_processor_computes():
    assert choose_device() == ("cpu", "this torch sees no CUDA device")


def test_every_tensor_goes_to_the_engines_device(bundle, monkeypatch):
    """On another device nothing may stay behind on the CPU: torch refuses to mix, with its device ``meta`` too."""
    opened = Bundle.open(bundle)
    engine = TorchEngine(opened.path("head.onnx"), opened.manifest.head, 1, device="meta")
    assert {tensor.device.type for tensor in engine._module.named_tensors().values()} == {"meta"}
    values = engine._module(engine._tensor(np.zeros((2, 16, 4, 4), np.float32)), ["logits", "relu"])
    term = torch_engine.PatternTerm(
        np.zeros((1, 16, 4, 4), np.float32),
        {"relu": np.zeros((1, HEAD.penultimate_size, 4, 4), np.float32)},
        {"relu": np.ones(HEAD.penultimate_size, np.float32)},
        0.5,
    )
    loss = values["logits"].sum() + engine._pattern_loss(values, term, 1)
    assert loss.device.type == "meta"
    loss.backward()
    assert all(tensor.grad is None for tensor in engine._module.named_tensors().values())  # the hook took them


def test_auto_takes_torch_only_where_a_gpu_and_its_kernels_are(bundle, tmp_path, monkeypatch):
    assert not torch_may_use_cuda([tmp_path / "nvidia0"])
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(select.importlib.util, "find_spec", lambda name: None)
    assert not torch_may_use_cuda([tmp_path / "nvidia0"])
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "torch")]})()
    monkeypatch.setattr(select.importlib.util, "find_spec", lambda name: spec)
    assert not torch_may_use_cuda([tmp_path / "nvidia0"])  # a CPU build
    (tmp_path / "torch" / "lib" / "libtorch_cuda.so").touch()
    assert torch_may_use_cuda([tmp_path / "nvidia0"])
    opened = Bundle.open(bundle)
    assert choose_engine("auto", opened).name == "ort"
    monkeypatch.setattr(select, "torch_may_use_cuda", lambda: True)
    assert choose_engine("auto", opened).name == "torch" and "GPU" in choose_engine("auto", opened).reason
    assert choose_engine("ort", opened).name == "ort"


def test_the_bundle_of_a_jetson_trains_here_too(edge, tmp_path):
    bundle = make_bundle(tmp_path / "jetson", providers=[TENSORRT, CUDA, CPU])
    data = make_folder(tmp_path / "d", ["red", "green"])
    document = json.loads(edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--json")[0])
    reason = "tensorrt is not in this onnxruntime; cuda is not in this onnxruntime"
    assert document["trunk_provider"] == {"name": "cpu", "reason": reason}
    assert providers.foresee(None, Bundle.open(bundle).manifest, [CLASSES[CPU]]).reason == reason

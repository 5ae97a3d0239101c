"""Channels are really removed, groups hold together, and the loss is reported."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.errors import UsageError
from lightcl_host.cli import main
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.pruning.channels import remove_channels
from lightcl_host.pruning.distillation import LabelledImages, distil, probe_accuracy, top1_agreement
from lightcl_host.sources.torch_source import export_module
from lightcl_models.loaded_model import LoadedModel, rgb_input
from lightcl_models.registry import load_model
from small_networks import SqueezeExcite, randomise_batch_norm


class Gate(nn.Module):
    """Residual stages, the last with squeeze-and-excite; wide enough to lose channels in eights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.grow = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.inner = nn.Conv2d(32, 32, 3, padding=1)
        self.gate = SqueezeExcite(32)
        self.fc = nn.Linear(32, 5)
        randomise_batch_norm(self)

    def forward(self, x):
        x = self.grow(self.stem(x))
        x = torch.relu(self.gate(self.inner(x)) + x)
        return self.fc(x.mean(dim=(2, 3)))


class Inverted(nn.Module):
    """An inverted residual block: wide between, a kernel a channel, no bend at its ends."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.expand = nn.Sequential(nn.Conv2d(16, 64, 1, bias=False), nn.BatchNorm2d(64), nn.Hardswish())
        self.depthwise = nn.Sequential(
            nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False), nn.BatchNorm2d(64), nn.Hardswish()
        )
        self.project = nn.Sequential(nn.Conv2d(64, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.last = nn.Sequential(nn.Conv2d(16, 64, 1), nn.ReLU6())
        self.fc = nn.Linear(64, 5)
        randomise_batch_norm(self)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        return self.fc(self.last(x).mean(dim=(2, 3)))


class Narrow(nn.Module):
    """Layers of 8 channels: what is left is a multiple of 8, so none can go."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.body, self.fc = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean(dim=(2, 3)))


def _cut(module, size, name):
    return choose_by_name(find_cuts(export_module(module, size, size)), name)


def test_the_original_stays_and_the_copy_is_smaller():
    module = Gate()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    removal = remove_channels(module, _cut(module, 16, "stem"), 0.5, 16, 16)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert removal.parameters_after < 0.6 * removal.parameters_before
    smaller = removal.module
    assert smaller.stem[0].out_channels == 16, "the part that everything leans on keeps its channels"
    assert smaller.grow[0].out_channels == smaller.inner.out_channels == smaller.gate.expand.out_channels == 16
    assert (smaller.fc.in_features, smaller.fc.out_features) == (16, 5)
    assert smaller(torch.zeros(2, 3, 16, 16)).shape == (2, 5)


def test_removed_channels_are_those_of_the_smallest_norm():
    module = nn.Sequential()
    module.add_module("first", nn.Conv2d(3, 16, 1))
    module.add_module("second", nn.Conv2d(16, 16, 1, bias=False))
    module.add_module("pool", nn.AdaptiveAvgPool2d(1))
    module.add_module("flat", nn.Flatten())
    module.add_module("fc", nn.Linear(16, 2))
    with torch.no_grad():
        module.second.weight[::2] *= 1e-3
        module.fc.weight[:, ::2] *= 1e-3
    wanted = module.second.weight[1::2].clone()
    removal = remove_channels(module, _cut(module, 4, "first"), 0.5, 4, 4)
    assert torch.equal(removal.module.second.weight, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "size", "cut"),
    [
        ("resnet18_cifar", 32, "layer3"),
        ("efficientnet_lite0", 64, "blocks.5"),
        ("torchvision:mobilenet_v3_small", 64, "features.8"),
        ("timm:efficientnet_b0", 64, "blocks.5"),
        ("torchvision:resnet18", 64, "layer3"),
    ],
)
def test_real_networks_lose_channels_and_still_export(spec, size, cut):
    check_halved(load_model(spec, "none").module, size, cut)


@pytest.mark.parametrize("network", [Gate, Inverted])
def test_small_networks_lose_channels_and_still_export(network):
    check_halved(network(), 16, "stem")


def check_halved(module, size, cut):
    """Half of the channels go behind the cut; what is left can be cut there and trained."""
    found = _cut(module, size, cut)
    removal = remove_channels(module, found, 0.5, size, size)
    assert removal.parameters_after < 0.75 * removal.parameters_before
    after = _cut(removal.module, size, cut)
    assert after.head_parameters < 0.6 * found.head_parameters
    assert after.trainable


def test_refusals():
    module = Gate()
    cut = _cut(module, 16, "stem")
    with pytest.raises(UsageError, match=r"above 0 and at most 0\.95"):
        remove_channels(module, cut, 0.99, 16, 16)
    narrow = Narrow()
    with pytest.raises(UsageError, match="removes nothing"):
        remove_channels(narrow, _cut(narrow, 16, "stem"), 0.01, 16, 16)


def test_onnx_sources_are_refused_with_a_reason(network_file, tmp_path, capsys):
    arguments = ["export", "--model", str(network_file), "--sparsity", "0.5", "--out", str(tmp_path / "b")]
    assert main([*arguments, "--quiet"]) == 2
    assert "an .onnx file holds a graph" in capsys.readouterr().err
    assert main(["export", "--model", "resnet18_cifar", "--sparsity", "2", "--out", str(tmp_path / "b")]) == 2
    assert "--sparsity 2" in capsys.readouterr().err


def _toy_data(count=64):
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.normal(size=(count, 3, 16, 16)).astype(np.float32) * 0.1
    images[labels == 1, 0, :, :8] += 2.0
    return LabelledImages(images, labels.astype(np.int64), np.arange(count) // 2 % 4 == 0)


def test_distillation_brings_the_answers_back():
    module, data = Gate(), _toy_data()
    smaller = remove_channels(module, _cut(module, 16, "stem"), 0.5, 16, 16).module
    with torch.no_grad():
        for parameter in smaller.fc.parameters():
            parameter.zero_()  # answers are lost entirely, not only a little
    images = torch.from_numpy(data.images[data.tests])

    def distance():
        with torch.no_grad():
            return float((module(images).softmax(1) - smaller(images).softmax(1)).abs().mean())

    before = distance()
    distil(smaller, module, data, 40, 0, Progress(quiet=True))
    assert distance() < 0.5 * before
    assert not smaller.training
    assert top1_agreement(module, module, data) == 1.0
    assert probe_accuracy(module, data) == 1.0


def test_labels_that_mean_nothing_probe_at_chance():
    data = _toy_data(400)
    random = LabelledImages(data.images, np.random.default_rng(1).integers(0, 2, 400), data.tests)
    assert 0.3 < probe_accuracy(Gate(), random) < 0.7


@pytest.mark.slow
def test_an_export_of_a_real_network_reports_what_was_lost(tmp_path, capsys):
    check_report(tmp_path, capsys, load_model("resnet18_cifar", "none").module, "layer4.0", 256)


def test_an_export_reports_what_was_lost(tmp_path, capsys, monkeypatch):
    loaded = LoadedModel(Gate(), rgb_input(16, 16), random_weights=False)
    monkeypatch.setattr("lightcl_host.sources.source.load_model", lambda *_: loaded)
    check_report(tmp_path, capsys, loaded.module, "stem", 16)


def check_report(tmp_path, capsys, module, cut, width):
    """Prunes and exports the network that is called resnet18_cifar here."""
    weights = tmp_path / "w.pth"
    torch.save(module.state_dict(), weights)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(8):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    arguments = ["export", "--model", "resnet18_cifar", "--weights", str(weights), "--cut", cut]
    arguments += ["--calibration", str(tmp_path / "data"), "--sparsity", "0.5", "--recovery-epochs", "1"]
    arguments += ["--trunk-dtype", "fp32", "--quiet", "--json", "--out", str(tmp_path / "b")]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)["pruning"]
    assert found["parameters_after"] < 0.6 * found["parameters_before"]
    assert found["accuracy_loss"] == pytest.approx(found["accuracy_before"] - found["accuracy_after"])
    manifest = Bundle.open(tmp_path / "b").manifest
    assert manifest.provenance["pruning_sparsity"] == 0.5
    assert manifest.provenance["pruning_accuracy_after"] == found["accuracy_after"]
    assert manifest.head.penultimate_size == width

"""Model specifications: unknown names and weights that can't be had say what to do, and quickly."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lightcl_edge.errors import UsageError
from lightcl_models import timm_models, torchvision_models
from lightcl_models.registry import load_model


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet18_cifr", "did you mean resnet18_cifar"),
        ("resnet50", "timm:resnet50"),
        ("torchvision:mobilenet_v3_smal", "did you mean torchvision:mobilenet_v3_small"),
        ("timm:mobilenetv2_10", "did you mean .*timm:mobilenetv2_100"),
        ("torchvision:", "A model is one of"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_model(spec, "none")


def test_weights_that_do_not_exist() -> None:
    with pytest.raises(UsageError, match=r"--weights FILE .* or --weights none"):
        load_model("resnet18_cifar", "default")
    with pytest.raises(UsageError, match="no such file; expected default, none"):
        load_model("resnet18_cifar", "weights-that-are-not-there.pth")


def test_unreachable_default_weights_fail_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(timm_models, "can_reach", lambda url: False)
    monkeypatch.setattr(torchvision_models, "can_reach", lambda url: False)
    load_model("timm:mobilenetv2_035", "none")  # imports are not what is timed
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"no default weights for timm:mobilenetv2_100: .* can't be reached"):
        load_model("timm:mobilenetv2_100", "default")
    with pytest.raises(UsageError, match=r"torchvision:resnet18 can't be reached .* or --weights none"):
        load_model("torchvision:resnet18", "default")
    assert time.monotonic() - started < 5


def test_inputs_come_from_the_libraries() -> None:
    vision = load_model("torchvision:mobilenet_v3_small", "none").input_info
    assert (vision.height, vision.interpolation, vision.crop_ratio) == (224, "bilinear", 0.875)
    timm = load_model("timm:mobilenetv2_035", "none")
    assert (timm.input_info.interpolation, timm.random_weights) == ("bicubic", True)


def test_lite0_input_is_minus_127_over_128() -> None:
    info = load_model("efficientnet_lite0", "none").input_info
    for pixel in (0, 127, 255):
        assert (pixel / 255 - info.mean[0]) / info.std[0] == pytest.approx((pixel - 127) / 128)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mobilenetv2_035"])
def test_networks_of_one_size_are_built_for_the_size_that_is_asked_for(name: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    images = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        assert load_model(f"timm:{name}", "none", image_size=64).module(images).shape == (1, 1000)
        save_file(load_model(f"timm:{name}", "none").module.state_dict(), tmp_path / "weights.safetensors")
        sized = load_model(f"timm:{name}", str(tmp_path / "weights.safetensors"), image_size=64).module
        assert sized(images).shape == (1, 1000)

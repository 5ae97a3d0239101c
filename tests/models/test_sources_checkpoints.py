"""Weights from files: key names, types, and files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lightcl_edge.errors import UsageError
from lightcl_models.checkpoints import as_torchvision_resnet, load_into, read_checkpoint, replace_classifier
from lightcl_models.efficientnet_lite0 import as_timm
from lightcl_models.registry import load_model

State = dict[str, torch.Tensor]


def reference_style(state: State) -> State:
    """Torchvision's keys as the LightCL reference spells them."""
    renamed = {}
    for key, tensor in state.items():
        theirs = key.replace("fc.", "linear.").replace(".downsample.", ".shortcut.")
        for layer in range(1, 5):
            for block in range(2):
                theirs = theirs.replace(f"layer{layer}.{block}.", f"layer{layer}_{block + 1}.")
        renamed[theirs] = tensor
    return renamed


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return load_model("resnet18_cifar", "none", seed=3).module


def test_reference_keys_become_torchvision_keys(network: torch.nn.Module) -> None:
    state = dict(network.state_dict())
    theirs = reference_style(state)
    assert "layer4_1.conv1.weight" in theirs and "linear.weight" in theirs and "layer4.0.conv1.weight" not in theirs
    assert set(as_torchvision_resnet(theirs)) == set(state)
    assert torch.equal(as_torchvision_resnet(theirs)["layer4.1.bn2.bias"], state["layer4.1.bn2.bias"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_reference_checkpoint_gives_the_same_network(network: torch.nn.Module, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    theirs = reference_style(dict(network.state_dict()))
    if suffix == ".pth":
        torch.save({"state_dict": theirs}, path)
    else:
        save_file(theirs, path)
    loaded = load_model("resnet18_cifar", str(path))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert not loaded.random_weights and loaded.module.fc.out_features == 10
    assert torch.equal(loaded.module(images), network(images))


def test_half_precision_is_read_as_float32_and_classes_come_from_the_file(tmp_path: Path) -> None:
    state = dict(load_model("resnet18_cifar", "none").module.state_dict())
    state["fc.weight"], state["fc.bias"] = torch.randn(7, 512).half(), torch.zeros(7)
    save_file(state, tmp_path / "half.safetensors")
    loaded = load_model("resnet18_cifar", str(tmp_path / "half.safetensors"))
    assert loaded.module.fc.out_features == 7
    assert {parameter.dtype for parameter in loaded.module.parameters()} == {torch.float32}


def test_random_weights_repeat_with_their_seed_and_leave_torch_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first = load_model("resnet18_cifar", "none", seed=5).module.state_dict()["fc.weight"]
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, load_model("resnet18_cifar", "none", seed=5).module.state_dict()["fc.weight"])
    assert not torch.equal(first, load_model("resnet18_cifar", "none", seed=6).module.state_dict()["fc.weight"])


def test_a_checkpoint_of_another_network_is_refused() -> None:
    layer = torch.nn.Linear(2, 3)
    with pytest.raises(UsageError, match=r"x.pth does not fit the network: it lacks 1 tensors \['bias'\]"):
        load_into(layer, {"weight": torch.zeros(3, 2)}, "x.pth")
    with pytest.raises(UsageError, match=r"weight has shape \(2, 3\), expected \(3, 2\)"):
        load_into(layer, {"weight": torch.zeros(2, 3), "bias": torch.zeros(3)}, "x.pth")


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"not a zip")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 16)
    (tmp_path / "weights.txt").write_bytes(b"")
    (tmp_path / "empty.bin").write_bytes(b"")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "code.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, message in [
        ("bad.pth", "can't be read"),
        ("bad.safetensors", "is damaged"),
        ("weights.txt", "expected weights in .safetensors"),
        ("empty.bin", "can't be read"),
        ("code.pth", "expected a file of tensors"),
        ("list.pth", "holds list; expected names and tensors"),
        ("none.pth", "no weights at"),
    ]:
        with pytest.raises(UsageError, match=message):
            read_checkpoint(tmp_path / name)


def test_lite0_keys_follow_the_stages() -> None:
    one = torch.zeros(1)
    theirs = {
        "_conv_stem.weight": one,
        "_blocks.0._depthwise_conv.weight": one,
        "_blocks.0._project_conv.weight": one,
        "_blocks.3._bn0.weight": one,
        "_blocks.15._project_conv.weight": one,
        "_fc.bias": one,
    }
    assert list(as_timm(theirs)) == [
        "conv_stem.weight",
        "blocks.0.0.conv_dw.weight",
        "blocks.0.0.conv_pw.weight",
        "blocks.2.0.bn1.weight",
        "blocks.6.0.conv_pwl.weight",
        "classifier.bias",
    ]


def test_a_module_gets_a_classifier_of_its_own() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1000))
    replace_classifier(module, 3)
    assert module(torch.rand(2, 6)).shape == (2, 3)
    with pytest.raises(UsageError, match="has no linear layer, expected a classifier"):
        replace_classifier(torch.nn.Sequential(torch.nn.ReLU()), 3)


def test_a_library_network_takes_weights_of_other_classes(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from lightcl_models.checkpoints import replace_classifier

    module = load_model("torchvision:squeezenet1_1", "none").module
    assert not any(isinstance(layer, torch.nn.Linear) for layer in module.modules())
    module = load_model("torchvision:mobilenet_v3_small", "none").module
    replace_classifier(module, 5)
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    again = load_model("torchvision:mobilenet_v3_small", str(tmp_path / "w.safetensors"))
    assert again.module.classifier[-1].out_features == 5


@pytest.mark.parametrize("name", ["best.pth.tar", "last.ckpt", "pytorch_model.bin", "net.pt"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model."])
@pytest.mark.parametrize("wrapper", ["", "model_state_dict", "state_dict"])
def test_weights_as_training_scripts_save_them(tmp_path: Path, name: str, prefix: str, wrapper: str) -> None:
    tensors = {f"{prefix}fc.{role}": torch.ones(2) for role in ("weight", "bias")}
    best = {"best": np.float64(0.5), "epoch": np.int64(3), "rates": np.float32(0.1)}
    torch.save({wrapper: tensors, **best} if wrapper else tensors, tmp_path / name)
    assert set(read_checkpoint(tmp_path / name)) == {"fc.weight", "fc.bias"}

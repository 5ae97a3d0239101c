"""Pretraining: the file it writes is a network's weights, of as many classes as the data have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lightcl_host.cli import main
from lightcl_host.sources.pretrain import augment
from lightcl_models.registry import load_model


def make_images(path: Path, count: int = 12) -> Path:
    """Three classes of flat colours with noise."""
    random = np.random.default_rng(0)
    y = np.arange(count) % 3
    x = (80 * y[:, None, None, None] + random.integers(0, 60, (count, 32, 32, 3))).astype(np.uint8)
    np.savez(path, x=x, y=y)
    return path


def test_the_weights_are_written_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = make_images(tmp_path / "d.npz"), tmp_path / "w.safetensors"
    options = ["--model", "resnet18_cifar", "--data", str(data), "--test-data", str(data), "--batch-size", "6"]
    code = main(["pretrain", *options, "--epochs", "3", "--learning-rate", "0.02", "--out", str(out), "--json"])
    assert code == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["epoch"] for each in document["epochs"]] == [1, 2, 3]
    assert document["epochs"][-1]["loss"] < document["epochs"][0]["loss"]
    assert 0 <= document["accuracy"] <= 1
    loaded = load_model("resnet18_cifar", str(out))
    assert loaded.module(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "net.onnx", "--out", "w.safetensors"], "an .onnx file can't be pretrained"),
        (["--model", "resnet18_cifar", "--out", "w.pt"], "expected a path ending in .safetensors"),
        (["--model", "resnet18_cifar", "--out", "w.safetensors", "--batch-size", "0"], "expected 1 or more"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--data", "digits", "--epochs", "1", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_augmented_image_is_a_shifted_or_mirrored_one() -> None:
    images = torch.rand(40, 3, 8, 8) + 1
    found = augment(images, np.random.default_rng(0))
    assert found.shape == images.shape
    padded = torch.nn.functional.pad(images, [1] * 4)
    for original, image in zip(padded, found, strict=True):
        shifts = [original[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
        assert any(torch.equal(image, part) or torch.equal(image, part.flip(2)) for part in shifts)

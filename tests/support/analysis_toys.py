"""A small network with learnable pictures for the tests of the analysis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from small_networks import Residual

CLASSES = 6


def save_network(path: Path) -> Path:
    """The residual network as a file that exports without PyTorch's slow exporter later on."""
    program = torch.onnx.export(Residual(), (torch.zeros(1, 3, 16, 16),), dynamo=True, optimize=False, verbose=False)
    program.save(path)
    return path


def save_pictures(path: Path, count: int = 144) -> Path:
    """Six classes of coarse coloured patterns under noise, 16 x 16 pixels."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    patterns = rng.integers(0, 255, (CLASSES, 4, 4, 3))
    clean = np.kron(patterns[labels], np.ones((1, 4, 4, 1)))
    pixels = np.clip(clean + rng.normal(0, 60, (count, 16, 16, 3)), 0, 255).astype(np.uint8)
    np.savez(path, x=pixels, y=np.array([f"c{label}" for label in labels]))
    return path


def arguments(network: Path, pictures: Path, out: Path, **changed: object) -> list[str]:
    """Of ``lightcl-host analyze``, as fast as it goes."""
    options = {"tasks": 3, "images": 144, "steps": 3, "shortlist": 1, "device": "rpi3"} | changed
    words = ["analyze", "--json", "--model", network, "--data", pictures, "--out", out]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", value]
    return [str(word) for word in words]

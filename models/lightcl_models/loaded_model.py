"""A network that has been loaded, and how images become its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightcl_edge.bundle.manifest import InputInfo

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class LoadedModel:
    """A network ready for export."""

    # in evaluation mode; takes float32 ``(n, 3, height, width)``, gives logits ``(n, classes)``
    module: torch.nn.Module
    input_info: InputInfo  # how an image becomes the input
    random_weights: bool  # whether the weights were drawn at random


def rgb_input(
    height: int,
    width: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    *,
    resize: str = "crop",
    interpolation: str = "bilinear",
    crop_ratio: float = 0.875,
) -> InputInfo:
    """The input of a network for RGB images; the usual one of ImageNet networks where nothing else is said."""
    return InputInfo(height, width, resize, crop_ratio, interpolation, list(mean), list(std), "RGB")

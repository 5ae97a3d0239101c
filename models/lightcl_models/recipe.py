"""What a network expects of its input, and a network that has been loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Recipe:
    """How an image becomes the network's input.

    Attributes:
        height: in pixels.
        width: in pixels.
        mean: subtracted from RGB pixels in 0..1.
        std: divided by afterwards.
        resize: ``stretch`` (both sides to the input size) or ``crop`` (shorter side, then centre crop).
        interpolation: ``bilinear``, ``bicubic`` or ``nearest``.
        crop_ratio: for ``crop``: input size / resized shorter side.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize: str = "crop"
    interpolation: str = "bilinear"
    crop_ratio: float = 0.875

    def at_size(self, height: int, width: int) -> Recipe:
        """The same recipe for another input size in pixels."""
        return replace(self, height=height, width=width)


@dataclass(frozen=True)
class LoadedModel:
    """A network ready for export.

    Attributes:
        module: in evaluation mode; takes float32 ``(n, 3, height, width)``, gives logits ``(n, classes)``.
        recipe: of its input.
        classes: how many classes it tells apart.
        random_weights: whether the weights were drawn at random.
    """

    module: torch.nn.Module
    recipe: Recipe
    classes: int
    random_weights: bool

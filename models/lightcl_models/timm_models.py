"""Networks of timm by name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.errors import UsageError
from lightcl_models.checkpoints import load_into, read_checkpoint
from lightcl_models.loaded_model import LoadedModel, rgb_input
from lightcl_models.names import unknown_name
from lightcl_models.reachability import can_reach
from lightcl_models.torchvision_import import import_torchvision

if TYPE_CHECKING:
    import torch

_HUB = "https://huggingface.co"
_INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


def _import_timm() -> Any:
    import_torchvision()  # timm imports it, and with a CPU-only torch that needs help
    import timm

    return timm


def create(name: str, classes: int | None = None) -> Any:
    """A network with random weights, and with ``classes`` outputs unless that is None."""
    options = {} if classes is None else {"num_classes": classes}
    return _import_timm().create_model(name, pretrained=False, **options)


def load(name: str, weights: str, image_size: int | None = None) -> LoadedModel:
    """Build a classifier of timm.

    Args:
        image_size: side in pixels, for networks that are built for one size; None for their own.

    Raises:
        UsageError: for an unknown name or weights that can't be had.
    """
    timm = _import_timm()
    if not timm.is_model(name):
        raise unknown_name(f"timm:{name}", [f"timm:{other}" for other in timm.list_models()])
    if weights in ("default", "none"):
        module: Any = _pretrained(timm, name, image_size) if weights == "default" else _sized(timm, name, image_size)
    else:
        module = create(name)
        load_into(module, read_checkpoint(Path(weights)), Path(weights).name)
        if image_size is not None and hasattr(module, "set_input_size"):
            module.set_input_size(img_size=(image_size, image_size))
    return LoadedModel(module.eval(), _input_info(module.pretrained_cfg), random_weights=weights == "none")


def _sized(timm: Any, name: str, image_size: int | None, *, pretrained: bool = False) -> torch.nn.Module:
    """A network; those with positions of their own are made for images of this side."""
    if image_size is not None:
        with suppress(TypeError):  # most networks take any size and no such argument
            sized: torch.nn.Module = timm.create_model(name, pretrained=pretrained, img_size=image_size)
            return sized
    module: torch.nn.Module = timm.create_model(name, pretrained=pretrained)
    return module


def _pretrained(timm: Any, name: str, image_size: int | None) -> torch.nn.Module:
    offline = not can_reach(_HUB)
    if offline:
        _stay_offline()
    try:
        return _sized(timm, name, image_size, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        why = f"{_HUB} can't be reached and they are not in its cache" if offline else str(error).splitlines()[0][:160]
        raise UsageError(
            f"no default weights for timm:{name}: {why}; connect this machine, or give --weights FILE or --weights none"
        ) from error


def _stay_offline() -> None:
    """Look only into the cache, because a download is retried for half a minute before it fails."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True


def _input_info(config: dict[str, Any]) -> InputInfo:
    """The input that timm's default weights were made for."""
    _, height, width = config["input_size"]
    interpolation = config["interpolation"] if config["interpolation"] in _INTERPOLATIONS else "bicubic"
    resize = "stretch" if config.get("crop_mode") == "squash" else "crop"
    crop_ratio = float(config["crop_pct"])
    return rgb_input(
        height, width, config["mean"], config["std"], resize=resize, interpolation=interpolation, crop_ratio=crop_ratio
    )

"""Networks of torchvision by name."""

from __future__ import annotations

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


def load(name: str, weights: str) -> LoadedModel:
    """Build a classifier of torchvision.

    Raises:
        UsageError: for an unknown name or weights that can't be had.
    """
    models = import_torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name(f"torchvision:{name}", [f"torchvision:{other}" for other in known])
    published = _published_weights(models, name)
    if weights == "default":
        return LoadedModel(_pretrained(models, name, published).eval(), _input_info(published), random_weights=False)
    module = models.get_model(name, weights=None)
    if weights != "none":
        load_into(module, read_checkpoint(Path(weights)), Path(weights).name)
    return LoadedModel(module.eval(), _input_info(published), random_weights=weights == "none")


def _published_weights(models: Any, name: str) -> Any:
    """The entry of torchvision's default weights, or None where there are none."""
    return getattr(models.get_model_weights(name), "DEFAULT", None)


def _pretrained(models: Any, name: str, published: Any) -> torch.nn.Module:
    import torch

    if published is None:
        raise UsageError(f"torchvision publishes no weights for {name}; give --weights FILE or --weights none")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    if not cached.exists() and not can_reach(published.url):
        raise UsageError(
            f"the default weights of torchvision:{name} can't be reached at {published.url} and are not in {cached}; "
            "connect this machine, put the file there, or give --weights FILE or --weights none"
        )
    module: torch.nn.Module = models.get_model(name, weights=published)
    return module


def _input_info(published: Any) -> InputInfo:
    """The input that the published weights were made for."""
    if published is None:
        return rgb_input(224, 224)
    preset = published.transforms()
    size, shorter_side = preset.crop_size[0], preset.resize_size[0]
    interpolation = str(preset.interpolation.value)
    ratio = size / shorter_side
    return rgb_input(size, size, preset.mean, preset.std, interpolation=interpolation, crop_ratio=ratio)

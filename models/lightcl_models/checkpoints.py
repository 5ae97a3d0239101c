"""Weights from ``.safetensors`` and ``.pth`` files; no code in them is ever run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightcl_edge.errors import UsageError

if TYPE_CHECKING:
    import torch

    StateDict = dict[str, torch.Tensor]

#: Training scripts put the tensors under one of these, the surest first.
_WRAPPERS = ("state_dict", "model_state_dict", "model_ema", "model", "net", "network", "module", "params", "weights")
#: What training in parallel, compiling or a framework puts before each key.
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.")
_TORCH_FILES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
#: ``layer4_1.conv1.weight``: how the LightCL reference spells torchvision's ``layer4.0.conv1.weight``.
_REFERENCE_BLOCK = re.compile(r"^layer(\d+)_(\d+)\.")
_REFERENCE_NAMES = ((".shortcut.", ".downsample."),)


def read_checkpoint(path: Path) -> StateDict:
    """The tensors of a weights file by key, floating-point ones as float32.

    PyTorch's files may wrap them, in ``state_dict`` for example, and put ``module.`` before each key. Raises UsageError
    when the file is missing, of another kind, or holds anything but tensors.
    """
    if not path.is_file():
        raise UsageError(f"no weights at {path}; expected a .safetensors or .pth file (or --weights none)")
    if path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    elif path.suffix in _TORCH_FILES:
        tensors = _read_torch(path)
    else:
        raise UsageError(
            f"{path.name} ends in {path.suffix!r}; expected weights in .safetensors or {', '.join(_TORCH_FILES)}"
        )
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{path} is damaged ({error}); expected a safetensors file") from error


def _read_torch(path: Path) -> StateDict:
    import torch

    # A refused pickle raises an error class that only pickle has; it is found by name, so that pickle is not imported.
    try:
        with torch.serialization.safe_globals(_plain_numbers()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        known = (RuntimeError, OSError, EOFError, ValueError, KeyError)
        if not isinstance(error, known) and type(error).__name__ != "UnpicklingError":
            raise
        reason = (str(error).splitlines() or ["it ends too early"])[0][:160]
        raise UsageError(f"{path} can't be read ({reason}); expected a file of tensors (a state_dict)") from error
    content = _unwrapped(content)
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise UsageError(f"{path} holds {type(content).__name__}; expected names and tensors (a state_dict)")
    return _without_prefixes({str(key): tensor for key, tensor in content.items()})


def _plain_numbers() -> list[Any]:
    """NumPy's numbers, as training scripts keep a best accuracy; reading them runs no code."""
    import numpy as np

    make_scalar = np.float64(0).__reduce__()[0]
    return [make_scalar, np.dtype, *(type(np.dtype(kind)) for kind in "fdilq?")]


def _unwrapped(content: object) -> Any:
    """The mapping of tensors inside the mappings that scripts put around it."""
    while isinstance(content, Mapping):
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    return content


def _without_prefixes(state: StateDict) -> StateDict:
    """The tensors without what stands before every key."""
    while state:
        prefix = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def as_torchvision_resnet(state: StateDict) -> StateDict:
    """A ResNet checkpoint with torchvision's keys.

    Other names are ``linear`` for ``fc``, ``shortcut`` for ``downsample``, and ``layer4_1``, ``layer4_2`` (counted from
    1) for the blocks ``layer4.0``, ``layer4.1``.
    """
    return {_torchvision_key(key): tensor for key, tensor in state.items()}


def _torchvision_key(key: str) -> str:
    key = _REFERENCE_BLOCK.sub(lambda match: f"layer{match[1]}.{int(match[2]) - 1}.", key)
    for theirs, ours in _REFERENCE_NAMES:
        key = key.replace(theirs, ours)
    return re.sub(r"^linear\.", "fc.", key)


def load_into(module: torch.nn.Module, state: StateDict, origin: str) -> None:
    """Put all tensors of a file into the module; a last linear layer of another number of classes is replaced.

    ``origin`` is the file's name. Raises UsageError, which names keys and shapes that do not fit.
    """
    _fit_classifier(module, state)
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own]
    if missing or unknown:
        raise UsageError(
            f"{origin} does not fit the network: it lacks {len(missing)} tensors {missing[:3]} and has "
            f"{len(unknown)} unknown ones {unknown[:3]}; expected the keys of the network itself"
        )
    for key, tensor in state.items():
        if tensor.shape != own[key].shape:
            found, expected = tuple(tensor.shape), tuple(own[key].shape)
            raise UsageError(f"{origin}: {key} has shape {found}, expected {expected}; is it another network's file?")
    module.load_state_dict(state, strict=False)


def replace_classifier(module: torch.nn.Module, classes: int) -> None:
    """Put a new linear layer in the place of the network's last one; UsageError when it has none."""
    import torch

    name, last = _last_linear(module)
    if last is None:
        raise UsageError("the network has no linear layer, expected a classifier as its last layer")
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, torch.nn.Linear(last.in_features, classes))


def _last_linear(module: torch.nn.Module) -> tuple[str, torch.nn.Linear | None]:
    import torch

    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, torch.nn.Linear)]
    return layers[-1] if layers else ("", None)


def _fit_classifier(module: torch.nn.Module, state: StateDict) -> None:
    name, last = _last_linear(module)
    weight = state.get(f"{name}.weight")
    if last is None or weight is None or weight.ndim != 2 or len(weight) == last.out_features:
        return
    if weight.shape[1] == last.in_features:
        replace_classifier(module, len(weight))

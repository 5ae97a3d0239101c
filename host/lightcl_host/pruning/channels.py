"""Remove channels from the head and the trunk's tail with Torch-Pruning; layers become smaller, nothing is masked.

Channels that must go together (residual sums, squeeze-and-excite gates, depthwise convolutions) form a group. In each
group, those with the smallest norm go (Fang et al. 2023, "DepGraph: Towards Any Structural Pruning"). A group that
reaches in front of the tail keeps all its channels. So does the classifier.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightcl_edge.errors import UsageError
from lightcl_host.cutting.cuts import Cut
from lightcl_host.graphs.quiet import quiet
from lightcl_host.sources.failure_reason import failure_reason

if TYPE_CHECKING:
    import torch

#: The trunk's tail: its last layers that together hold this share of the trunk's weights. The layers before it
#: generalise best, and all later layers need them; they are not touched.
TAIL_SHARE = 0.5
#: The number of channels that are left is a multiple of this, because kernels are fast with such numbers.
CHANNEL_MULTIPLE = 8
LARGEST_SPARSITY = 0.95


@dataclass(frozen=True)
class Removal:
    """What pruning removed."""

    module: torch.nn.Module  # the smaller network
    parameters_before: int  # weights of the whole network
    parameters_after: int  # weights of the smaller network
    layers: int  # how many convolutions and linear layers lost output channels


def remove_channels(module: torch.nn.Module, cut: Cut, sparsity: float, height: int, width: int) -> Removal:
    """Prune a copy of a network.

    Raises:
        UsageError: when torch-pruning is missing, the cut is no module's, or the network can't be pruned.
    """
    import torch

    if not 0 < sparsity <= LARGEST_SPARSITY:
        raise UsageError(f"--sparsity {sparsity:g}; expected a share above 0 and at most {LARGEST_SPARSITY:g}")
    smaller = copy.deepcopy(module).eval()
    for parameter in smaller.parameters():
        parameter.requires_grad_(True)
    example = torch.zeros(1, 3, height, width)
    trunk, head = _layers_around(smaller, cut, example)
    prunable = {*_tail(trunk), *head[:-1]}
    widths = {layer: _width(layer) for layer in prunable}
    before = _parameters(smaller)
    _prune(smaller, example, sparsity, prunable)
    changed = sum(_width(layer) < width for layer, width in widths.items())
    if not changed:
        raise UsageError(
            f"--sparsity {sparsity:g} removes nothing around cut {cut.name!r}: every group of channels there is too "
            "small or reaches into the part that stays; ask for more or cut earlier"
        )
    return Removal(smaller, before, _parameters(smaller), changed)


def _prune(module: torch.nn.Module, example: torch.Tensor, sparsity: float, prunable: set[torch.nn.Module]) -> None:
    """Remove channels of the prunable layers in place, and check that the network still runs."""
    import torch

    pruning = _import_torch_pruning()
    try:
        with quiet():
            pruning.pruner.MetaPruner(
                module,
                example,
                importance=pruning.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=sparsity,
                ignored_layers=[layer for layer in module.modules() if _has_channels(layer) and layer not in prunable],
                round_to=CHANNEL_MULTIPLE,
            ).step()
        with torch.no_grad():
            module(example)
    except Exception as error:  # torch-pruning raises whatever its tracing meets
        raise UsageError(
            f"--sparsity: torch-pruning can't prune this network: {failure_reason(error)}; export without it"
        ) from error


def _import_torch_pruning() -> Any:
    try:
        import torch_pruning
    except ImportError as error:
        raise UsageError(
            "--sparsity needs the package torch-pruning, which is not installed; pip install 'lightcl-edge[host]'"
        ) from error
    return torch_pruning


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _width(layer: torch.nn.Module) -> int:
    """Output channels of a convolution or linear layer."""
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]  # torch types attributes as tensor or module
    return len(weight)


def _has_channels(layer: torch.nn.Module) -> bool:
    from torch import nn

    return isinstance(layer, nn.Conv2d | nn.Linear)


def _layers_around(
    module: torch.nn.Module, cut: Cut, example: torch.Tensor
) -> tuple[list[torch.nn.Module], list[torch.nn.Module]]:
    """Layers that run before the cut's module has ended, and layers that run after it."""
    import torch

    modules = dict(module.named_modules())
    named = next((modules[name] for name in (cut.name, *cut.aliases) if name in modules), None)
    if named is None:
        raise UsageError(f"--sparsity needs a cut that is named after a module of the network, found {cut.name!r}")
    before: list[torch.nn.Module] = []
    after: list[torch.nn.Module] = []
    ended = False

    def note(layer: torch.nn.Module, *_: object) -> None:
        (after if ended else before).append(layer)

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    handles = [layer.register_forward_hook(note) for layer in modules.values() if _has_channels(layer)]
    handles.append(named.register_forward_hook(end))
    try:
        with torch.no_grad():
            module(example)
    finally:
        for handle in handles:
            handle.remove()
    return before, after


def _tail(trunk: list[torch.nn.Module]) -> list[torch.nn.Module]:
    """The trunk's last layers, up to :data:`TAIL_SHARE` of its weights."""
    total = sum(_parameters(layer) for layer in trunk)
    tail: list[torch.nn.Module] = []
    weights = 0
    for layer in reversed(trunk):
        weights += _parameters(layer)
        if weights > TAIL_SHARE * total:
            break
        tail.append(layer)
    return tail

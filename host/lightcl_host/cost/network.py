"""Counts of a torch network, layer by layer: parameters, outputs of convolutions, multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Modules on a residual's way around its block; the paper leaves their outputs out.
_SHORTCUTS = ("downsample", "shortcut")


@dataclass(frozen=True)
class LayerCount:
    """One layer with weights.

    Attributes:
        name: of its module.
        convolution: or a linear layer, or batch normalisation.
        parameters: weights and biases.
        output_bytes: of one sample, float32.
        multiply_adds: of one sample.
    """

    name: str
    convolution: bool
    parameters: int
    output_bytes: int
    multiply_adds: int

    @property
    def shortcut(self) -> bool:
        """Whether it stands on the way around a block."""
        return any(part in _SHORTCUTS for part in self.name.split("."))


@dataclass(frozen=True)
class NetworkCount:
    """All layers of a network.

    Attributes:
        layers: in order of use.
        classes: rows of the last linear layer.
        width: of its input.
    """

    layers: tuple[LayerCount, ...]
    classes: int
    width: int

    def _chosen(self, parts: Sequence[str]) -> list[LayerCount]:
        """Layers inside the named modules; all for none."""
        return [
            layer
            for layer in self.layers
            if not parts or any(layer.name == part or layer.name.startswith(f"{part}.") for part in parts)
        ]

    def parameters(self, parts: Sequence[str] = ()) -> int:
        """Weights inside the named modules (all for none)."""
        return sum(layer.parameters for layer in self._chosen(parts))

    def convolution_parameters(self, parts: Sequence[str] = ()) -> int:
        """Weights of convolutions inside the named modules."""
        return sum(layer.parameters for layer in self._chosen(parts) if layer.convolution)

    def activation_bytes(self, parts: Sequence[str] = ()) -> int:
        """Outputs of all convolutions inside the named modules but those of shortcuts, of one sample."""
        return sum(layer.output_bytes for layer in self._chosen(parts) if layer.convolution and not layer.shortcut)

    def largest_activation_bytes(self, without: Sequence[str]) -> int:
        """The largest output of a convolution outside the named modules, of one sample."""
        inside = self._chosen(without)
        return max(layer.output_bytes for layer in self.layers if layer.convolution and layer not in inside)

    def multiply_adds(self, parts: Sequence[str] = (), kept: Callable[[str], float] = lambda _: 1.0) -> float:
        """Multiply-adds inside the named modules, each weighted by the share of channels that is kept there."""
        return sum(kept(layer.name) * layer.multiply_adds for layer in self._chosen(parts))


def count_network(module: torch.nn.Module, height: int, width: int) -> NetworkCount:
    """Run the network once and count.

    Args:
        module: takes ``(1, 3, height, width)``; ends in a linear layer.
        height: of the input in pixels.
        width: of the input in pixels.

    Returns:
        The counts.
    """
    import torch
    from torch import nn

    layers: list[LayerCount] = []
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    names: dict[nn.Module, str] = {layer: name for name, layer in module.named_modules() if isinstance(layer, kinds)}

    def note(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        own = [parameter.numel() for parameter in layer.parameters(recurse=False)]
        weight = getattr(layer, "weight", None)
        products = 0 if isinstance(layer, nn.BatchNorm2d) or weight is None else math.prod(weight.shape[1:])
        size = output[0].numel()
        layers.append(LayerCount(names[layer], isinstance(layer, nn.Conv2d), sum(own), 4 * size, products * size))

    handles = [layer.register_forward_hook(note) for layer in names]
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, 3, height, width))
    finally:
        for handle in handles:
            handle.remove()
    last = [layer for layer in names if isinstance(layer, nn.Linear)][-1]
    return NetworkCount(tuple(layers), last.out_features, last.in_features)

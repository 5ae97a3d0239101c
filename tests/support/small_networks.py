"""Small networks with the shapes of large ones: residual blocks, gates, branches, attention."""

from __future__ import annotations

import torch
from torch import nn


def randomise_batch_norm(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norm statistics that differ from the identity, so that folding them matters."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
            for tensor in (layer.running_var, layer.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module.eval()


class Block(nn.Module):
    """Two convolutions with batch norm and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


class Residual(nn.Module):
    """A stem, two stages of residual blocks, mean and classifier; 16 x 16 images, 5 classes."""

    def __init__(self, classes: int = 5, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.stage1 = nn.Sequential(Block(8), Block(8))
        self.down = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.stage2 = nn.Sequential(Block(16), Block(16))
        self.fc = nn.Linear(16, classes, bias=bias)
        randomise_batch_norm(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stage2(self.down(self.stage1(self.stem(x))))
        return self.fc(torch.flatten(x.mean(dim=(2, 3)), 1))


class SqueezeExcite(nn.Module):
    """Gates each channel of a map by its mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, 4, 1)
        self.expand = nn.Conv2d(4, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.relu(self.reduce(x.mean(dim=(2, 3), keepdim=True)))
        return x * nn.functional.hardsigmoid(self.expand(gate))


class Gated(nn.Module):
    """SiLU, squeeze-and-excite, hard-swish, and a classifier of two layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.silu = nn.SiLU()
        self.se = SqueezeExcite(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.swish = nn.Hardswish()
        self.hidden = nn.Linear(8, 12)
        self.head = nn.Linear(12, 5)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.swish(self.conv2(self.se(self.silu(self.conv1(x)))))
        return self.head(torch.relu(self.hidden(x.mean(dim=(2, 3)))))


class Branches(nn.Module):
    """Two branches that meet in a concatenation; a GELU, which no engine trains, before them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.gelu = nn.GELU()
        self.left = nn.Conv2d(8, 4, 1)
        self.right = nn.Conv2d(8, 4, 3, padding=1)
        self.last = nn.Linear(8, 5)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.gelu(self.first(x))
        x = torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], dim=1)
        return self.last(x.mean(dim=(2, 3)))

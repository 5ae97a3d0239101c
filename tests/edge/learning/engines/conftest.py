"""A head of every kind of layer, exported once."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from head_export import Tail
from step_reference import Head

SHAPE = (4, 8, 8)


class Residual(nn.Module):
    """A block with a branch, a gate and a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.act = nn.Conv2d(4, 8, 1), nn.ReLU6()
        self.depthwise, self.act2 = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU()
        self.gate, self.project = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act2(self.depthwise(self.act(self.expand(x))))
        y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        return x + self.project(y)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Head:
    torch.manual_seed(0)
    body = nn.Sequential(Residual(), nn.Conv2d(4, 10, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    return Head(Tail(body, 10, 6), SHAPE, tmp_path_factory.mktemp("head"))


@pytest.fixture
def head(exported: Head) -> Head:
    """The head with a torch network of its own, which a test may train."""
    own = copy.copy(exported)
    own.tail = copy.deepcopy(exported.tail)
    return own

"""Networks of torch, by both of its exporters."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch.nn import functional

from lightcl_edge.bundle.graph_names import IMAGE, LOGITS
from lightcl_host.cutting.cuts import find_cuts
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.sources import torch_source
from lightcl_host.sources.torch_source import _traced, export_module, run_module


class _BiasedAttention(torch.nn.Module):
    """Attention with a bias for each pair of positions, as BEiT has it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 16, 4, stride=4)
        self.both = torch.nn.Linear(16, 48)
        self.first = torch.nn.Parameter(torch.randn(1, 1, 16))
        self.bias = torch.nn.Parameter(torch.randn(17, 17, 2))
        self.classes = torch.nn.Linear(16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(images), -1, -1), patches], dim=1)
        count, places, width = tokens.shape
        query, key, value = self.both(tokens).reshape(count, places, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias.permute(2, 0, 1).contiguous().unsqueeze(0)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = mixed.transpose(1, 2).reshape(count, places, width)
        return self.classes((tokens + mixed).mean(dim=1))


@pytest.mark.parametrize("traced", [True, False])
def test_attention_with_a_bias_is_exported_for_any_number_of_images(
    monkeypatch: pytest.MonkeyPatch, traced: bool
) -> None:
    if not traced:
        monkeypatch.setattr(torch_source, "_traced", lambda *_: None)
    torch.manual_seed(0)
    module = _BiasedAttention().eval()
    runner = GraphRunner(export_module(module, 16, 16))
    for count in (1, 3):
        images = np.random.default_rng(0).normal(size=(count, 3, 16, 16)).astype(np.float32)
        with torch.no_grad():
            expected = module(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(runner({IMAGE: images}, [LOGITS])[LOGITS], expected, atol=1e-5)


class _ConvolutionAtTheEnd(torch.nn.Module):
    """As SqueezeNet: the logits are pooled from a convolution's maps."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU())
        self.classifier = torch.nn.Conv2d(6, 5, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images)).mean((2, 3))


class _AsManyAsThereAre(torch.nn.Module):
    """Takes another way with more images than it is traced with."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(48, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.flatten(1)) * (1.0 if len(images) <= 2 else 2.0)


def test_a_network_is_traced_and_its_cuts_are_called_after_their_modules() -> None:
    module = _ConvolutionAtTheEnd().eval()
    assert _traced(module, 8, 8) is not None
    model = export_module(module, 8, 8)
    assert [cut.name for cut in find_cuts(model)] == ["features", "end.mean.0", "end.flat.0"]
    images = np.random.default_rng(0).random((5, 3, 8, 8), np.float32)
    found = GraphRunner(model)({IMAGE: images}, [LOGITS])[LOGITS]
    np.testing.assert_allclose(found, run_module(module, images), atol=1e-6)


def test_a_trace_that_holds_for_its_own_images_alone_is_not_taken() -> None:
    assert _traced(_AsManyAsThereAre().eval(), 4, 4) is None


class _Padded(torch.nn.Conv2d):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.pad(images, (0, 1, 0, 1)))


def test_padding_that_is_joined_with_its_convolution_leaves_the_modules_name() -> None:
    block = torch.nn.Sequential(_Padded(3, 6, 3, stride=2), torch.nn.BatchNorm2d(6))
    end = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    module = torch.nn.Sequential(OrderedDict(block=block, end=end, classifier=torch.nn.Linear(6, 5))).eval()
    cuts = find_cuts(export_module(module, 8, 8))
    assert [cut.name for cut in cuts] == ["block", "end.0", "end"]
    assert not any("/" in name for cut in cuts for name in (cut.name, *cut.aliases))

"""Networks of torch that the exporter follows only with help."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from lightcl_edge.bundle.graph_names import IMAGE, LOGITS
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.sources.torch_source import export_module


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


def test_attention_with_a_bias_is_exported_for_any_number_of_images() -> None:
    torch.manual_seed(0)
    module = _BiasedAttention().eval()
    runner = GraphRunner(export_module(module, 16, 16))
    for count in (1, 3):
        images = np.random.default_rng(0).normal(size=(count, 3, 16, 16)).astype(np.float32)
        with torch.no_grad():
            expected = module(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(runner({IMAGE: images}, [LOGITS])[LOGITS], expected, atol=1e-5)

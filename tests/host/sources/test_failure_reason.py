"""Why a network can't be used, in one plain line."""

from __future__ import annotations

import pytest
import torch

from lightcl_edge.errors import UsageError
from lightcl_host.sources.failure_reason import failure_reason
from lightcl_host.sources.torch_source import export_module


class OneSize(torch.nn.Module):
    """Refuses other sizes, as vision transformers do."""

    def forward(self, images):
        torch._assert(images.shape[2] == 32, f"Wrong image height! Expected 32 but got {images.shape[2]}!")
        return images.mean((2, 3))


class OneImage(torch.nn.Module):
    """Puts one token before the images, which a graph exported for one image can't do for three."""

    def __init__(self):
        super().__init__()
        self.token = torch.nn.Parameter(torch.zeros(1, 3, 1))

    def forward(self, images):
        tokens = torch.cat([self.token.expand(images.shape[0], -1, -1), images.flatten(2)], 2)
        return tokens.mean(2)


def test_the_exporter_s_own_cause_is_told():
    with pytest.raises(UsageError) as caught:
        export_module(OneSize(), 16, 16)
    assert str(caught.value) == (
        "PyTorch can't export the network at 16 x 16 pixels: Wrong image height! Expected 32 but got 16!; "
        "try another --image-size or give the network as an .onnx file"
    )


def test_a_graph_for_one_image_is_refused_in_plain_words(capfd):
    with pytest.raises(UsageError) as caught:
        export_module(OneImage(), 16, 16)
    message = str(caught.value)
    assert "stops with: Non concat axis dimensions must match: Axis 0 has mismatched dimensions" in message
    assert message.endswith("choose another, or give an .onnx file with a free batch axis")
    assert "onnxruntime" not in "".join(capfd.readouterr())  # its own log is no message


def test_a_reason_is_one_line_without_colours():
    first = ValueError("\x1b[96mtoo\x1b[0m large\nmore")
    try:
        try:
            raise first
        except ValueError as error:
            raise RuntimeError("failed, next steps:") from error
    except RuntimeError as error:
        assert failure_reason(error) == "too large"
    assert failure_reason(KeyError()) == "KeyError"
    assert failure_reason(ValueError("word " * 99)).endswith("word ...")

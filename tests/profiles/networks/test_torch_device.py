"""Which device torch computes on."""

from __future__ import annotations

import pytest

from lightcl_edge.errors import UsageError


def test_cuda_is_taken_where_torch_sees_it(monkeypatch):
    import torch

    from lightcl_profiler.networks.torch_device import torch_device

    for seen, asked, expected in ((True, "auto", "cuda"), (True, "cpu", "cpu"), (False, "auto", "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda seen=seen: seen)
        assert torch_device(asked) == expected
    with pytest.raises(UsageError, match="found --torch-device cuda, but this torch sees no CUDA device"):
        torch_device("cuda", "--torch-device")

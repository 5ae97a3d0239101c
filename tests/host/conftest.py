"""Small networks in normal form, exported once for all tests of the room."""

from __future__ import annotations

import onnx
import pytest

from lightcl_host.sources.torch_source import export_module
from small_networks import Branches, Gated, Residual


@pytest.fixture(scope="session")
def residual() -> onnx.ModelProto:
    return export_module(Residual(), 16, 16)


@pytest.fixture(scope="session")
def gated() -> onnx.ModelProto:
    return export_module(Gated(), 16, 16)


@pytest.fixture(scope="session")
def branches() -> onnx.ModelProto:
    return export_module(Branches(), 16, 16)

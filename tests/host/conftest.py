"""Small networks, exported once for all tests of the room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from made_once import made_once


@pytest.fixture(scope="session")
def normal_form(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], onnx.ModelProto]:
    """Gives the graph of one of ``small_networks``, by name."""

    def graph(name: str) -> onnx.ModelProto:
        def make(path: Path) -> None:
            import small_networks
            from lightcl_host.sources.torch_source import export_module

            onnx.save(export_module(getattr(small_networks, name)(), 16, 16), path)

        return onnx.load(made_once(tmp_path_factory, f"{name}.onnx", make))

    return graph


@pytest.fixture(scope="session")
def residual(normal_form: Callable[[str], onnx.ModelProto]) -> onnx.ModelProto:
    return normal_form("Residual")


@pytest.fixture(scope="session")
def gated(normal_form: Callable[[str], onnx.ModelProto]) -> onnx.ModelProto:
    return normal_form("Gated")


@pytest.fixture(scope="session")
def branches(normal_form: Callable[[str], onnx.ModelProto]) -> onnx.ModelProto:
    return normal_form("Branches")


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The residual network as PyTorch's exporter writes it, batch norm and all."""

    def make(path: Path) -> None:
        from analysis_toys import save_network

        save_network(path)

    return made_once(tmp_path_factory, "small.onnx", make)


@pytest.fixture(scope="session")
def pictures_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learnable pictures for it."""
    from analysis_toys import save_pictures

    return made_once(tmp_path_factory, "pictures.npz", save_pictures)


@pytest.fixture(scope="session")
def exported_bundle(tmp_path_factory: pytest.TempPathFactory, network_file: Path) -> Path:
    """The bundle that ``lightcl-host export`` makes of it, in float32."""
    from lightcl_host.cli import main

    def make(path: Path) -> None:
        words = ["export", "--model", str(network_file), "--trunk-dtype", "fp32", "--quiet", "--json"]
        assert main([*words, "--out", str(path)]) == 0

    return made_once(tmp_path_factory, "exported-bundle", make)

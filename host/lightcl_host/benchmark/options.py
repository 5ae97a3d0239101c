"""What a benchmark compares, and how; it travels to the processes of single runs as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightcl_host.sources.options import SourceOptions


@dataclass(frozen=True)
class DataOptions:
    """What is learned and tested on; None for all images.

    Without ``test_data`` the source's own test split is tested, or every fifth image where there is none.
    ``validation`` tests on training images that no seed learns from instead, to choose settings by.
    """

    data: str
    test_data: str | None = None
    tasks: int = 5
    images_per_class: int | None = None
    test_images_per_class: int | None = None
    validation: bool = False


@dataclass(frozen=True)
class BenchmarkOptions:
    """What to compare, and how; None leaves the choice to the method, the machine or the source.

    Attributes:
        source: the network.
        bundle: an exported bundle; None to export one into ``out``.
        cut: of the bundle that is exported here, as ``trunk_dtype``.
        buffer_bytes: the most that a method may keep of earlier tasks' images or features.
        threads: of each library.
        engine: of ``lightcl-edge train``.
        torch_device: of the methods in PyTorch: ``auto``, ``cpu`` or ``cuda``.
        jobs: runs at a time.
        measure_memory: also measure the device's strategies, each in processes of its own.
    """

    source: SourceOptions
    bundle: Path | None
    cut: str
    trunk_dtype: str
    data: DataOptions
    methods: list[str]
    seeds: list[int]
    buffer_bytes: int
    epochs: int | None
    batch_size: int
    learning_rate: float | None
    threads: int | None
    engine: str
    out: Path
    torch_device: str = "auto"
    jobs: int = 1
    measure_memory: bool = True

    @property
    def features(self) -> Path:
        """Folder of the features that all runs share."""
        return self.out / "features"

    @property
    def bundle_path(self) -> Path:
        """Of the bundle that was named, or that is exported here."""
        return self.bundle or self.out / "bundle"

    def to_document(self) -> dict[str, Any]:
        """For JSON."""
        paths = {"out": str(self.out), "bundle": None if self.bundle is None else str(self.bundle)}
        return {**asdict(self), **paths}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> BenchmarkOptions:
        """Read what :meth:`to_document` made."""
        source = dict(document["source"])
        for name in ("mean", "std"):
            source[name] = None if source[name] is None else tuple(source[name])
        return cls(
            **{
                **document,
                "source": SourceOptions(**source),
                "data": DataOptions(**document["data"]),
                "out": Path(document["out"]),
                "bundle": None if document["bundle"] is None else Path(document["bundle"]),
            }
        )

"""What a benchmark compares, and how; it travels to the processes of single runs as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightcl_host.benchmark.data import DataOptions
from lightcl_host.sources.source import SourceOptions


@dataclass(frozen=True)
class BenchmarkOptions:
    """What to compare, and how.

    Attributes:
        source: the network.
        bundle: an exported bundle; None to export one into ``out``.
        cut: where a bundle is cut that is exported here.
        trunk_dtype: of a bundle that is exported here.
        data: what is learned and tested on.
        methods: names.
        seeds: each method is run with each.
        buffer_bytes: the most a method may keep of earlier tasks' images or features.
        epochs: None for each method's own default.
        batch_size: samples a step.
        learning_rate: None for each method's own default.
        threads: of each library; None for all processors.
        engine: of the device's strategies.
        out: folder of results.
        torch_device: of the methods in PyTorch: ``auto``, ``cpu`` or ``cuda``.
        jobs: runs at a time.
        measure_memory: measure the device's strategies too, each in processes of its own.
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

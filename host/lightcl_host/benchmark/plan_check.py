"""Predicted against measured peak memory on this machine, for several networks, cuts, engines and batch sizes."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.console.progress import Progress
from lightcl_host.cost.plan_measurement import Measured, measure, write_tasks
from lightcl_host.export.export import export_bundle
from lightcl_host.export.options import ExportOptions
from lightcl_host.sources.options import SourceOptions

#: The largest relative difference that the check accepts.
TOLERANCE = 0.10


@dataclass(frozen=True)
class Case:
    """A bundle to measure; ``image_size`` None is the model's own."""

    model: str
    image_size: int | None
    cut: str
    trunk_dtype: str


#: Residual networks, and inverted residuals with and without squeeze-and-excite; each with an fp32 and an int8 trunk.
#: Weights are random, because memory does not depend on them. So the check needs no download.
CASES = (
    Case("resnet18_cifar", None, "layer3", "fp32"),
    Case("resnet18_cifar", None, "layer4.0", "int8"),
    Case("efficientnet_lite0", 128, "blocks.4", "fp32"),
    Case("efficientnet_lite0", 128, "blocks.5", "int8"),
    Case("torchvision:mobilenet_v2", 96, "features.13", "fp32"),
    Case("torchvision:mobilenet_v2", 96, "features.16", "int8"),
    Case("torchvision:regnet_y_400mf", 96, "trunk_output.block2", "fp32"),
    Case("torchvision:regnet_y_400mf", 96, "trunk_output.block3", "int8"),
    Case("torchvision:resnet18", 96, "layer3", "fp32"),
    Case("torchvision:resnet18", 96, "layer4.0", "int8"),
)
BATCH_SIZES = (8, 32)


@dataclass(frozen=True)
class CheckRow:
    """One phase of one training, or its ``peak``.

    Bytes are those of the plan that the training itself made, and the peak resident set of its process.
    """

    model: str
    cut: str
    trunk_dtype: str
    engine: str
    batch_size: int
    phase: str
    predicted_bytes: int
    measured_bytes: int

    @property
    def difference(self) -> float:
        """Relative to what was measured."""
        return self.predicted_bytes / self.measured_bytes - 1

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "difference": self.difference}


def check_rows(
    cases: Sequence[Case], engines: Sequence[str], batch_sizes: Sequence[int], strategy: str, progress: Progress
) -> tuple[list[CheckRow], list[dict[str, Any]]]:
    """Export each case, train it in fresh processes, and compare the plan with what was measured.

    Returns a row for each phase, and for each bundle the counts that the plan is made from. Raises a LightclError when
    a bundle can't be made or a training fails.
    """
    rows: list[CheckRow] = []
    counts: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = write_tasks(folder, max(batch_sizes))
        for case in progress.track(cases, "measuring"):
            bundle = folder / "bundle"
            manifest = _export(case, bundle)
            counts.append({**asdict(case), **asdict(manifest.cost)})
            for engine in engines:
                for batch in batch_sizes:
                    progress.note(f"{case.model} at {case.cut}, {engine}, batch {batch}")
                    held = manifest.defaults.buffer_samples
                    measured = measure(bundle, folder / "state", tasks, engine, batch, held, strategy)
                    shutil.rmtree(folder / "state")
                    rows += _compare(case, manifest, engine, batch, measured)
            shutil.rmtree(bundle)
    return rows, counts


def _export(case: Case, out: Path) -> Manifest:
    source = SourceOptions(case.model, "none", case.image_size)
    export_bundle(ExportOptions(source, out, cut=case.cut, trunk_dtype=case.trunk_dtype), Progress(quiet=True))
    return Bundle.open(out).manifest


def _compare(case: Case, manifest: Manifest, engine: str, batch: int, measured: Measured) -> Iterator[CheckRow]:
    predicted = measured.plan.phases()
    pairs = {name: (predicted[name], found) for name, found in measured.phase_bytes.items() if name in predicted}
    pairs["peak"] = (measured.plan.peak_bytes, max(measured.phase_bytes.values()))
    for phase, (expected, found) in pairs.items():
        yield CheckRow(case.model, case.cut, manifest.model.trunk_dtype, engine, batch, phase, expected, found)

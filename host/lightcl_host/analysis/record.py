"""What an analysis found, as typed records. The terminal, JSON and HTML are all drawn from them.

Bytes and counts are integers, shares are 0 to 1. Equal arguments on one machine give an equal document: nothing depends
on when or how fast it was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightcl_edge.errors import DataError
from lightcl_edge.files.records import read_record
from lightcl_host.analysis.cut_rule import Candidate
from lightcl_profiler.devices.profile import DeviceProfile

FORMAT = "lightcl-analysis"
FORMAT_VERSION = 2
ANALYSIS_FILE, REPORT_FILE = "analysis.json", "report.html"
_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True)
class CutRecord:
    """A cut whose head can be trained; docs/builders/analysis.md defines what is measured.

    Measured figures are of all held-out images, each with its standard error. Parameters of the trunk lie before the
    cut, those of the head after it, with the network's own classifier. FLOPs are those of one
    image forward; a multiply-add counts as two. Predicted peaks are those of the whole process.

    Attributes:
        head_accuracy: of a really trained head, all classes, after the last task; None where there is none.
    """

    name: str
    stage: str
    depth: int
    shape: list[int]
    feature_bytes: int
    trunk_parameters: int
    head_parameters: int
    trunk_flops: int
    head_flops: int
    memory_stability: float
    memory_stability_deviation: float
    learning_plasticity: float
    learning_plasticity_deviation: float
    generalizability: float
    generalizability_deviation: float
    probe_accuracy_before: float
    probe_accuracy_after: float
    predicted_extract_bytes: int
    predicted_train_bytes: int
    predicted_peak_bytes: int
    predicted_disk_bytes: int
    relative_time: float
    fits: bool
    head_accuracy: float | None
    head_note: str
    shortlisted: bool
    pareto: bool


@dataclass(frozen=True)
class Settings:
    """What a user can set, and what follows from it.

    Steps are the most of a task. The engine and the trunk's type are those that predictions are for.
    Another number of threads would round differently.
    """

    tasks: int
    images: int
    steps: int
    batch_size: int
    learning_rate: float
    threshold: float
    shortlist: int
    similarity_batch: int
    ridge: float
    probe_cells: int
    engine: str
    head_epochs: int
    threads: int
    trunk_dtype: str


@dataclass(frozen=True)
class Choice:
    """Which cut, and why; ``rule`` is ``accurate``, ``generalizes``, ``fits`` or ``nothing_fits``."""

    chosen: str | None
    rule: str
    reason: str
    remarks: list[str]


@dataclass(frozen=True)
class DeviceChoice:
    """What the same rule takes for another device.

    Without a cut that fits, ``chosen`` is None and the predicted peak is that of the cut that needs least.
    """

    device: str
    usable_bytes: int
    chosen: str | None
    predicted_peak_bytes: int


@dataclass(frozen=True)
class Analysis:
    """Everything that ``analysis.json`` holds.

    ``tasks`` are the classes of each task. ``whole_accuracy`` is that of the whole network on each task right after it,
    among the task's classes, after so many ``steps``. Weights after the tensor ``trained_from`` were trained: ``image``
    for the whole network. ``stability_rank_correlation`` is Spearman's, of memory stability with depth; None for fewer
    than three cuts. ``chosen`` is None when nothing fits. ``rule_of_thumb`` is the cut that no measurement chooses.
    """

    format: str
    format_version: int
    command: str
    model: str
    weights: str
    input_size: list[int]
    graph_sha256: str
    data: str
    tasks: list[list[str]]
    train_images: int
    held_images: int
    skipped_images: int
    settings: Settings
    device: str
    device_profile: DeviceProfile
    seed: int
    steps: list[int]
    whole_accuracy: list[float]
    trained_from: str
    stability_rank_correlation: float | None
    cuts: list[CutRecord]
    rule_of_thumb: str
    chosen: str | None
    choice: Choice
    other_devices: list[DeviceChoice]
    packages: dict[str, str]

    def document(self) -> dict[str, Any]:
        """The analysis as JSON carries it."""
        return asdict(self)

    def candidates(self) -> list[Candidate]:
        """The cuts as the rule sees them, in order, to ask it again for another device."""
        return [
            Candidate(
                name=cut.name,
                generalizability=cut.generalizability,
                peak_bytes=cut.predicted_peak_bytes,
                head_parameters=cut.head_parameters,
                feature_bytes=cut.feature_bytes,
                relative_time=cut.relative_time,
                accuracy=cut.head_accuracy,
            )
            for cut in self.cuts
        ]

    def cut(self, name: str) -> CutRecord:
        return next(cut for cut in self.cuts if cut.name == name)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Analysis:
        """Read what :meth:`document` made; a DataError names a missing or mistyped key, or another format."""
        found = document.get("format"), document.get("format_version")
        if found != (FORMAT, FORMAT_VERSION):
            raise DataError(f"the analysis is {found[0]!r} version {found[1]!r}, expected {FORMAT!r} {FORMAT_VERSION}")
        return read_record(cls, document, "analysis", expected="a document made by lightcl-host analyze")


def read_analysis(folder: Path) -> Analysis:
    """The analysis in a folder that ``lightcl-host analyze --out`` wrote, or in the ``analysis.json`` named.

    Raises a DataError when there is none or it is damaged.
    """
    path = folder / ANALYSIS_FILE if folder.is_dir() else folder
    if not path.is_file():
        raise DataError(f"no analysis at {path}; expected a folder that lightcl-host analyze --out wrote")
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(f"{path} has {path.stat().st_size} bytes, expected at most {_MAX_BYTES}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); run lightcl-host analyze again") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} holds {type(document).__name__}, expected an object")
    return Analysis.from_document(document)

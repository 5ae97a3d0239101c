"""What an analysis found, as typed records; the terminal, JSON and HTML are drawn from them alone.

Bytes and counts are integers, shares 0 to 1. Nothing in it depends on when or how fast it was made: equal arguments on
one machine give an equal document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightcl_edge.errors import DataError
from lightcl_edge.files.records import read_record
from lightcl_host.analysis.choice import Candidate
from lightcl_profiler.devices.profile import DeviceProfile

FORMAT = "lightcl-analysis"
FORMAT_VERSION = 1
ANALYSIS_FILE, REPORT_FILE = "analysis.json", "report.html"
_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True)
class CutRecord:
    """A cut whose head can be trained. Deviations are over the repeats; 0 for a single one.

    Attributes:
        name: as ``lightcl-host cuts`` lists it.
        stage: part of the network that it belongs to.
        depth: 0 for the first.
        shape: of one image's feature.
        feature_bytes: of one stored feature.
        trunk_parameters: weights before it.
        head_parameters: weights after it, the network's own classifier included.
        trunk_flops: of one image; a multiply-add counts as two.
        head_flops: of one feature, forward only.
        memory_stability: linear CKA of earlier tasks' features before and after learning the next, mean.
        memory_stability_deviation: standard deviation.
        learning_plasticity: probe accuracy before a task over that after it, clipped at 1, mean.
        learning_plasticity_deviation: standard deviation.
        generalizability: harmonic mean of both.
        generalizability_deviation: standard deviation.
        probe_accuracy_before: of the ridge probe on the features before a task, mean.
        probe_accuracy_after: the same after it was learned.
        predicted_extract_bytes: whole process while images become features.
        predicted_train_bytes: whole process while the head is trained.
        predicted_peak_bytes: the largest phase, first use included.
        predicted_disk_bytes: feature store of a task, checkpoint and a generation.
        relative_time: multiply-adds of a task over those of training the whole network on it.
        fits: the device has that memory.
        head_accuracy: of a really trained head, all classes, after the last task; None where it was not tried.
        head_note: why there is no accuracy although it was tried, ``""`` else.
        shortlisted: a head was to be trained.
        pareto: no other trained head is at least as accurate at no more memory, and better in one.
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

    Attributes:
        tasks: how many.
        images: asked for in all.
        steps: of the whole network, a task.
        batch_size: images a step.
        learning_rate: of plain SGD on the whole network.
        repeats: with other random numbers each.
        threshold: of generalizability.
        shortlist: how many heads to train at most.
        similarity_batch: images a batch of the minibatch CKA.
        ridge: of the probe.
        probe_cells: a side, to which maps are averaged for the probe.
        engine: that the predictions are for.
        head_epochs: of the trained heads.
        threads: of the fine-tuning; another number rounds differently.
        trunk_dtype: that the predictions are for.
    """

    tasks: int
    images: int
    steps: int
    batch_size: int
    learning_rate: float
    repeats: int
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
    """Which cut, and why.

    Attributes:
        chosen: its name; None when nothing fits.
        rule: the part of the rule that decided: ``generalizes``, ``fits``, ``nothing_fits``.
        reason: in words.
        remarks: what a person should know before they follow it.
    """

    chosen: str | None
    rule: str
    reason: str
    remarks: list[str]


@dataclass(frozen=True)
class DeviceChoice:
    """What the same rule takes for another device.

    Attributes:
        device: name of its profile.
        usable_bytes: memory a training may take there.
        chosen: the cut; None when nothing fits.
        predicted_peak_bytes: of it, or of the cut that needs least when nothing fits.
    """

    device: str
    usable_bytes: int
    chosen: str | None
    predicted_peak_bytes: int


@dataclass(frozen=True)
class Analysis:
    """Everything ``analysis.json`` holds.

    Attributes:
        format: always ``lightcl-analysis``.
        format_version: a newer one is refused.
        command: that made it.
        model: its specification.
        weights: their name.
        input_size: height and width in pixels.
        graph_sha256: of the network's graph, weights included.
        data: specification of the images.
        tasks: classes of each task.
        train_images: in all tasks.
        held_images: never trained on.
        skipped_images: unreadable.
        settings: what was asked for.
        device: name of the device profile.
        device_profile: the profile.
        seed: of everything random.
        whole_accuracy: of the fine-tuned whole network on each task right after it, among the task's classes, mean.
        trained_from: the first tensor whose successors were trained: ``image`` for the whole network.
        stability_rank_correlation: Spearman's, of memory stability with depth; None for fewer than three cuts.
        cuts: in the order of the network.
        chosen: the cut; None when nothing fits.
        choice: why.
        other_devices: what the rule takes for every known board.
        packages: versions.
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
    whole_accuracy: list[float]
    trained_from: str
    stability_rank_correlation: float | None
    cuts: list[CutRecord]
    chosen: str | None
    choice: Choice
    other_devices: list[DeviceChoice]
    packages: dict[str, str]

    def document(self) -> dict[str, Any]:
        """The analysis as JSON carries it."""
        return asdict(self)

    def candidates(self) -> list[Candidate]:
        """What the rule looks at, in order; it can be asked again for another device."""
        return [
            Candidate(
                name=cut.name,
                generalizability=cut.generalizability,
                peak_bytes=cut.predicted_peak_bytes,
                head_parameters=cut.head_parameters,
                feature_bytes=cut.feature_bytes,
                relative_time=cut.relative_time,
            )
            for cut in self.cuts
        ]

    def cut(self, name: str) -> CutRecord:
        """The cut of that name."""
        return next(cut for cut in self.cuts if cut.name == name)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Analysis:
        """Read what :meth:`document` made.

        Args:
            document: of ``analysis.json``.

        Returns:
            The analysis.

        Raises:
            DataError: naming a missing or mistyped key, or another format.
        """
        found = document.get("format"), document.get("format_version")
        if found != (FORMAT, FORMAT_VERSION):
            raise DataError(f"the analysis is {found[0]!r} version {found[1]!r}, expected {FORMAT!r} {FORMAT_VERSION}")
        return read_record(cls, document, "analysis", expected="a document made by lightcl-host analyze")


def read_analysis(folder: Path) -> Analysis:
    """The analysis in a folder.

    Args:
        folder: that ``lightcl-host analyze --out`` wrote, or the ``analysis.json`` in it.

    Returns:
        The analysis.

    Raises:
        DataError: when there is none or it is damaged.
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

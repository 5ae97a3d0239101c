"""The whole analysis: measure, predict, choose, try heads, and make one record of it."""

import hashlib
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lightcl_edge import __version__
from lightcl_edge.bundle.manifest import CostInfo, TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import count
from lightcl_edge.errors import UsageError
from lightcl_edge.machine.description import usable_cores
from lightcl_host.analysis.assemble import Measured, assemble, candidates_of
from lightcl_host.analysis.cut_rule import DEFAULT_THRESHOLD, choose, shortlist
from lightcl_host.analysis.finished_parts import FinishedParts
from lightcl_host.analysis.generalizability import Training, look_batch, measure_repeat
from lightcl_host.analysis.heads import train_head
from lightcl_host.analysis.network import Network, trainable_from
from lightcl_host.analysis.record import Analysis, Settings
from lightcl_host.analysis.ridge_probe import PROBE_CELLS, RIDGE
from lightcl_host.analysis.tasks import Sequence, load_sequence, open_tasks
from lightcl_host.analysis.work_bar import WorkBar
from lightcl_host.analysis.writing import check_folder
from lightcl_host.cost.cut_manifest import BYTES_OF_FLOAT
from lightcl_host.cost.plan_cut import CutPlan, plan_cut, plan_revision
from lightcl_host.cutting.cuts import Cut, find_cuts
from lightcl_host.cutting.rule_of_thumb import choose_automatically
from lightcl_host.graphs.counts import multiply_adds
from lightcl_host.sources.failure_reason import blaming
from lightcl_host.sources.source import Source, SourceOptions, open_source
from lightcl_profiler.devices.profile import DeviceProfile, load_profile

_PACKAGES = ("lightcl-edge", "torch", "onnx", "onnxruntime", "numpy")
_WORK_FOLDER = "work"


@dataclass(frozen=True)
class AnalyzeOptions:
    """What to analyse and how; fields without a description are those of the record's ``Settings``."""

    source: SourceOptions
    data: str
    out: Path
    device: str = "this-machine"
    tasks: int = 3
    images: int = 600
    steps: int = 40
    learning_rate: float = 0.02
    repeats: int = 2
    threshold: float = DEFAULT_THRESHOLD
    shortlist: int = 4
    seed: int = 0
    trunk_dtype: str = "fp32"
    command: str = ""


_BATCH_SIZE = 32
#: Options that the record repeats among its settings.
_ASKED_FOR = ("tasks", "images", "steps", "learning_rate", "repeats", "threshold", "shortlist", "trunk_dtype")


def analyze(options: AnalyzeOptions, progress: Progress, source: Source | None = None) -> Analysis:
    """Measure every cut and choose one; the files of the record are not written yet.

    A caller that has opened the source already has called :func:`check_analysis` before. Raises a LightclError when the
    model, the data or an option can't be used.
    """
    if source is None:
        check_analysis(options)
        progress.note(f"exporting {options.source.model} to ONNX")
        source = open_source(options.source)
        for remark in source.notes:
            progress.note(remark)
    profile = load_profile(options.device)
    with blaming(source.name, "cut", "try another exporter or opset"):
        cuts = find_cuts(source.graph)
    choose_automatically(cuts)  # refuses a network without a trainable cut, and says why
    return _Run(options, profile, source, [cut for cut in cuts if cut.trainable], progress).analysis()


def check_analysis(options: AnalyzeOptions) -> None:
    """Refuse what can't be used with a LightclError, before the network is exported, which takes long."""
    _check_numbers(options)
    load_profile(options.device)
    check_folder(options.out)
    open_tasks(options.data, options.tasks, options.images)


def _check_numbers(options: AnalyzeOptions) -> None:
    allowed: dict[str, tuple[bool, object, str]] = {
        "steps": (options.steps >= 1, options.steps, "1 or more"),
        "repeats": (options.repeats >= 1, options.repeats, "1 or more"),
        "shortlist": (options.shortlist >= 0, options.shortlist, "0 or more"),
        "learning-rate": (0 < options.learning_rate < float("inf"), options.learning_rate, "a number above 0"),
        "threshold": (0 <= options.threshold <= 1, options.threshold, "0 to 1"),
    }
    allowed["trunk-dtype"] = (options.trunk_dtype in BYTES_OF_FLOAT, options.trunk_dtype, ", ".join(BYTES_OF_FLOAT))
    for name, (fine, found, expected) in allowed.items():
        if not fine:
            raise UsageError(f"--{name} {found}; expected {expected}")


class _Run:
    """The steps of one analysis."""

    def __init__(
        self, options: AnalyzeOptions, profile: DeviceProfile, source: Source, cuts: list[Cut], progress: Progress
    ) -> None:
        import torch

        torch.set_num_threads(usable_cores())
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time alone
        self._options, self._profile, self._source, self._cuts = options, profile, source, cuts
        self._progress = progress
        self._engine = "ort" if profile.engines.ort else "torch"
        seed = options.seed
        self._sequence = load_sequence(options.data, source.input_info, options.tasks, options.images, seed, progress)
        self._batch = look_batch(sum(cut.feature_bytes for cut in cuts))
        self._graph_hash = hashlib.sha256(source.graph.SerializeToString(deterministic=True)).hexdigest()
        about = {
            "version": __version__,
            "graph": self._graph_hash,
            "pixels": _fingerprint(self._sequence),
            "settings": asdict(replace(self._settings(), threshold=0.0, shortlist=0, repeats=0, trunk_dtype="")),
            "seed": seed,
        }
        self._parts = FinishedParts(options.out / _WORK_FOLDER, about)
        self._work = multiply_adds(source.graph)
        task_images = self._sequence.images / options.tasks
        looks = 2 * 2.5 * task_images
        self._repeat_units = options.tasks * self._work * (looks + 3.0 * options.steps * _BATCH_SIZE)
        self._head_units = self._work * self._sequence.images * 4.0
        total = options.repeats * self._repeat_units + options.shortlist * self._head_units
        self._bar = WorkBar(progress, total)

    def _settings(self) -> Settings:
        return Settings(
            **{name: getattr(self._options, name) for name in _ASKED_FOR},
            batch_size=_BATCH_SIZE,
            similarity_batch=self._batch,
            ridge=RIDGE,
            probe_cells=PROBE_CELLS,
            engine=self._engine,
            head_epochs=TrainingDefaults().epochs,
            threads=usable_cores(),
        )

    def analysis(self) -> Analysis:
        """All steps in order."""
        self._progress.stage(f"predicting the memory of {count(len(self._cuts), 'cut')}")
        plans = [self._plan(cut) for cut in self._progress.track(self._cuts, "predicting memory")]
        repeats = [self._repeat(number) for number in range(self._options.repeats)]
        measured = Measured(self._cuts, plans, repeats)
        candidates = candidates_of(measured)
        usable = self._profile.usable_memory.bytes
        chosen, _ = choose(candidates, usable, self._options.threshold)
        names = shortlist(candidates, chosen, usable, self._options.shortlist)
        heads = {name: self._head(name, at, len(names)) for at, name in enumerate(names)}
        self._bar.finish("analysed")
        return assemble(
            measured,
            heads,
            profile=self._profile,
            settings=self._settings(),
            sequence=self._sequence,
            facts={
                "command": self._options.command,
                "model": self._source.name,
                "weights": self._source.weights,
                "input_size": [self._source.input_info.height, self._source.input_info.width],
                "graph_sha256": self._graph_hash,
                "data": self._options.data,
                "trained_from": trainable_from(self._source, self._cuts),
                "seed": self._options.seed,
                "packages": _versions(),
            },
            random_weights=self._source.random_weights,
        )

    def _plan(self, cut: Cut) -> tuple[CutPlan, CostInfo]:
        dtype = self._options.trunk_dtype
        images = max(len(task.train) + len(task.held) for task in self._sequence.tasks)

        def make() -> dict[str, Any]:
            plan, cost = plan_cut(self._source, cut, self._engine, images, dtype)
            return {"plan": asdict(plan), "cost": asdict(cost)}

        part = self._parts.get(f"plan {plan_revision()} {self._engine} {dtype} {cut.name}", make)
        return CutPlan(**part["plan"]), CostInfo(**part["cost"])

    def _repeat(self, number: int) -> dict[str, Any]:
        options, name = self._options, f"repeat {number}"
        if (found := self._parts.find(name)) is not None:
            self._bar.did(self._repeat_units, taken_up=True)
            return found
        seed = 1000 * options.seed + number
        label = f"fine-tuning {number + 1}/{options.repeats}"
        pieces = 3 * options.tasks

        def tell() -> None:
            self._bar.did(self._repeat_units / pieces)
            self._bar.doing(label)

        def make() -> dict[str, Any]:
            self._bar.doing(label, f"{label}: {count(options.tasks, 'task')} of {count(options.steps, 'step')}")
            network = Network(self._source, self._cuts, len(self._sequence.classes), seed)
            training = Training(options.steps, _BATCH_SIZE, options.learning_rate)
            return measure_repeat(network, self._sequence, training, self._batch, seed, tell)

        return self._parts.get(name, make)

    def _head(self, name: str, at: int, of: int) -> dict[str, Any]:
        cut = next(cut for cut in self._cuts if cut.name == name)
        units = self._head_units * self._options.shortlist / of
        if (found := self._parts.find(f"head {name}")) is not None:
            self._bar.did(units, taken_up=True)
            return found
        label = f"head {at + 1}/{of}: {name}"
        self._bar.doing(label[:24], f"training {label}")
        folder = self._options.out / _WORK_FOLDER / "head"

        def make() -> dict[str, Any]:
            return train_head(self._source, cut, self._sequence, folder, self._options.seed)

        part = self._parts.get(f"head {name}", make)
        self._bar.did(units)
        return part


def _fingerprint(sequence: Sequence) -> str:
    digest = hashlib.sha256(repr(sequence.classes).encode())
    for task in sequence.tasks:
        for array in (task.train, task.train_labels, task.held, task.held_labels):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

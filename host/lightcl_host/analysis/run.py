"""The whole analysis: measure, predict, choose, try heads, and make one record of it."""

import hashlib
import math
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lightcl_edge import __version__
from lightcl_edge.bundle.manifest import CostInfo, TrainingDefaults
from lightcl_edge.console.progress import Progress, ReportedProgress
from lightcl_edge.console.text import count
from lightcl_edge.errors import UsageError
from lightcl_edge.machine.description import usable_cores
from lightcl_edge.machine.freeing import trim_heap
from lightcl_host.analysis.assemble import Measured, assemble
from lightcl_host.analysis.cut_rule import DEFAULT_THRESHOLD, choose, shortlist, worth_measuring
from lightcl_host.analysis.finished_parts import FinishedParts
from lightcl_host.analysis.generalizability import STEP_COST, USUAL_STEPS, Training, look_batch, measure, step_batch
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
from lightcl_host.graphs.counts import multiply_adds, peak_activation_bytes
from lightcl_host.sources.failure_reason import blaming
from lightcl_host.sources.fresh_process import open_in_fresh_process
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import Source
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
    tasks: int | None = None
    images: int = 600
    steps: int = 40
    learning_rate: float = 0.02
    threshold: float = DEFAULT_THRESHOLD
    shortlist: int = 3
    seed: int = 0
    trunk_dtype: str = "fp32"
    command: str = ""


#: What ``--quick`` takes instead of the defaults.
QUICK = {"images": 160, "steps": 5, "shortlist": 0}
#: Seconds of a multiply-add forward, of predicting a cut, and of training a head beside its work; for the bar alone.
_WORK_SECONDS, _PLAN_SECONDS, _HEAD_SECONDS = 1.2e-10, 0.5, 3.0
#: Options that the record repeats among its settings.
_ASKED_FOR = ("images", "steps", "learning_rate", "threshold", "shortlist", "trunk_dtype")


def analyze(options: AnalyzeOptions, progress: Progress, source: Source | None = None) -> Analysis:
    """Measure every cut and choose one; the files of the record are not written yet.

    A caller that has opened the source already has called :func:`check_analysis` before. Raises a LightclError when the
    model, the data or an option can't be used.
    """
    if source is None:
        check_analysis(options)
        progress.note(f"exporting {options.source.model} to ONNX")
        source = open_in_fresh_process(options.source)
        for remark in source.notes:
            progress.note(remark)
    profile = load_profile(options.device)
    with blaming(source.name, "cut", "try another exporter or opset"):
        cuts = find_cuts(source.graph)
    return _Run(options, profile, source, cuts, progress).analysis()


def check_analysis(options: AnalyzeOptions) -> None:
    """Refuse what can't be used with a LightclError, before the network is exported, which takes long."""
    _check_numbers(options)
    load_profile(options.device)
    check_folder(options.out)
    open_tasks(options.data, options.tasks, options.images)


def _check_numbers(options: AnalyzeOptions) -> None:
    allowed: dict[str, tuple[bool, object, str]] = {
        "steps": (options.steps >= 1, options.steps, "1 or more"),
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
        torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms imports 70 MB of a compiler
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time alone
        thumb = choose_automatically(cuts)  # refuses a network without a trainable cut, and says why
        cuts = worth_measuring([cut for cut in cuts if cut.trainable])
        # a map and its pooled vector learn the same
        self._thumb = min(cuts, key=lambda cut: abs(cut.head_parameters - thumb.head_parameters)).name
        self._options, self._profile, self._source, self._cuts = options, profile, source, cuts
        self._progress = progress
        self._engine = "ort" if profile.engines.ort else "torch"
        seed = options.seed
        self._sequence = load_sequence(options.data, source.input_info, options.tasks, options.images, seed, progress)
        self._batch = look_batch(peak_activation_bytes(source.graph))
        self._step_batch = step_batch(_values(source))
        self._graph_hash = hashlib.sha256(source.graph.SerializeToString(deterministic=True)).hexdigest()
        about = {
            "version": __version__,
            "graph": self._graph_hash,
            "pixels": _fingerprint(self._sequence),
            "settings": asdict(replace(self._settings(), threshold=0.0, shortlist=0, trunk_dtype="")),
            "seed": seed,
        }
        self._parts = FinishedParts(options.out / _WORK_FOLDER, about)
        self._image_seconds = multiply_adds(source.graph) * _WORK_SECONDS
        tasks, images = (
            len(self._sequence.tasks),
            sum(len(task.train) + len(task.held) for task in self._sequence.tasks),
        )
        looks = 3 * images + tasks * 3 * 64
        steps = tasks * min(options.steps, USUAL_STEPS) * self._step_batch * STEP_COST
        self._measure_seconds = (looks + steps) * self._image_seconds
        self._head_seconds = tasks * (_HEAD_SECONDS + 2 * images * self._image_seconds)
        total = self._measure_seconds + options.shortlist * self._head_seconds + _PLAN_SECONDS * len(cuts)
        self._bar = WorkBar(progress, total)

    def _settings(self) -> Settings:
        return Settings(
            **{name: getattr(self._options, name) for name in _ASKED_FOR},
            tasks=len(self._sequence.tasks),
            batch_size=self._step_batch,
            similarity_batch=self._batch,
            ridge=RIDGE,
            probe_cells=PROBE_CELLS,
            engine=self._engine,
            head_epochs=TrainingDefaults().epochs,
            threads=usable_cores(),
        )

    def analysis(self) -> Analysis:
        """All steps in order."""
        self._bar.doing("predicting memory", f"predicting the memory of {count(len(self._cuts), 'cut')}")
        plans = [self._plan(cut) for cut in self._cuts]
        measured = Measured(self._cuts, plans, self._measured())
        candidates = measured.candidates({})
        usable, options = self._profile.usable_memory.bytes, self._options
        chosen, _ = choose(candidates, usable, options.threshold, 0)
        wanted = [each for each in candidates if each.name == self._thumb or each == chosen]
        names = shortlist(candidates, wanted, usable, options.shortlist)
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
                "rule_of_thumb": self._thumb,
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
            trim_heap()  # else pieces of freed graphs stay
            return {"plan": asdict(plan), "cost": asdict(cost)}

        part = self._parts.get(f"plan {plan_revision()} {self._engine} {dtype} {cut.name}", make)
        self._bar.did(_PLAN_SECONDS)
        self._bar.doing("predicting memory")
        return CutPlan(**part["plan"]), CostInfo(**part["cost"])

    def _measured(self) -> dict[str, Any]:
        options, label = self._options, "fine-tuning"
        tasks = len(self._sequence.tasks)

        def tell(images: float) -> None:
            self._bar.did(images * self._image_seconds)
            self._bar.doing(label)

        def make() -> dict[str, Any]:
            self._bar.doing(label, f"{label}: {count(tasks, 'task')} of at most {count(options.steps, 'step')}")
            network = Network(self._source, self._cuts, len(self._sequence.classes), options.seed)
            training = Training(options.steps, self._step_batch, options.learning_rate)
            return measure(network, self._sequence, training, self._batch, options.seed, tell)

        with self._bar.part(self._measure_seconds):
            return self._parts.get("fine-tuning", make)

    def _head(self, name: str, at: int, of: int) -> dict[str, Any]:
        cut = next(cut for cut in self._cuts if cut.name == name)
        label = f"head {at + 1}/{of}: {name}"
        folder = self._options.out / _WORK_FOLDER / "head"
        tell = ReportedProgress(lambda _: self._bar.doing(label[:24]))

        def make() -> dict[str, Any]:
            self._bar.doing(label[:24], f"training {label}")
            return train_head(self._source, cut, self._sequence, folder, self._options.seed, tell)

        with self._bar.part(self._head_seconds * self._options.shortlist / of):
            return self._parts.get(f"head {name}", make)


def _values(source: Source) -> int:
    """How many numbers the network computes for one image."""
    shapes = [info.type.tensor_type.shape.dim for info in source.graph.graph.value_info]
    return sum(math.prod(dim.dim_value for dim in shape[1:]) for shape in shapes)


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

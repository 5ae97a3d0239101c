"""The memory and disk that a run will need, predicted before it starts; ``refusal.py`` refuses what does not fit.

The phases follow one another, so the plan's peak is the largest phase, not their sum. The base is this process's
present size. The other figures come from the manifest's counts.
"""

import math
import os
import re
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from typing import Any

from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.machine import process_memory
from lightcl_edge.planning import ort as plan_ort
from lightcl_edge.planning import torch as plan_torch
from lightcl_edge.planning import trunk as plan_trunk

# Coefficients, here and in trunk.py, ort.py and torch.py: measured on x86-64 with onnxruntime 1.32 and torch 2.13.
# `lightcl-host cost --check` prints predicted against measured for each phase; docs/builders/cost.md: how to fit.
#: Size of `lightcl-edge train` when it plans (Python, numpy, this package), for predictions made on another machine.
DEVICE_BASE_BYTES = 42 * plan_trunk.MIB
#: From this version on Linux maps the whole piece of a file that the page cache holds, where one page was touched. Of
#: libraries that were read in one go, as after an installation, a training then has up to 12.4 MiB more.
LARGE_PIECES_SINCE, LARGE_PIECES_BYTES = (6, 18), 13 * plan_trunk.MIB
#: For each entry of the scatter of taps: the matrix, a class's triangle as it is read and added, a block of products.
COVARIANCE_ENTRY_BYTES = 22.0
#: The same once rows are solved: the terms of the novelty score, and a class's triangle.
SOLVED_ENTRY_BYTES = 8.4
#: Copies of an earlier generation's classifier and samples, which are read once images are features.
GENERATION_COPIES = 1.5
#: Copies of class means and rows, and of products of all classes, while rows are solved in closed form; and of
#: penultimate activations, whose parts are joined.
SOLVING_COPIES, STARTING_COPIES = 6, 2
#: Logits that a temperature is fitted on, at most: all of a thousand classes would take 200 MB. And copies of them.
FITTED_LOGITS, FITTING_COPIES = 2**19, 4
#: Copies of the head beside the trunk when predicting: as exported, for taps, and as learned.
PREDICTING_HEAD_COPIES = 2.0


@dataclass(frozen=True)
class Plan:
    """Predicted bytes of a training run; each phase adds its own to the base."""

    base_bytes: int  # this process before it loads anything, and what mapping libraries in large pieces may add
    install_bytes: int  # the check of the golden images, the first time
    extract_bytes: int  # the trunk and one batch of images
    import_bytes: int  # the engine before the head's parameters are loaded
    train_bytes: int  # the engine, the head and one batch of features
    gate_bytes: int  # the engine when the new head is judged and written
    disk_bytes: int  # feature store, checkpoint and one generation
    quick_steps: bool = True  # whether steps may take what is modest, to be faster

    def phases(self) -> dict[str, int]:
        """Peak of the whole process in each phase of ``train --json``."""
        added = {
            "install": self.install_bytes,
            "extract": self.extract_bytes,
            "import": self.import_bytes,
            "train": self.train_bytes,
            "gate": self.gate_bytes,
            "commit": self.gate_bytes,
        }
        return {name: self.base_bytes + extra for name, extra in added.items()}

    @property
    def peak_bytes(self) -> int:
        """The largest phase."""
        return max(self.phases().values())

    @property
    def largest_phase(self) -> str:
        """Its name."""
        phases = self.phases()
        return max(phases, key=phases.__getitem__)

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "peak_bytes": self.peak_bytes}


def plan_training(
    manifest: Manifest, engine: str, images: int, steps: tuple[int, int] | None, *, quick_steps: bool = True
) -> Plan:
    """Predict a run over so many images.

    The classifier in closed form comes first, then the steps if there are any.

    Args:
        steps: samples of a training step, and how many carry patterns; None for a strategy without steps.
        quick_steps: whether they may take what is modest, to be faster.
    """
    head: ModuleType = plan_torch if engine == "torch" else plan_ort
    taps_bytes, scatter_bytes = head.closed_form_bytes(manifest), covariance_bytes(manifest)
    train_bytes = taps_bytes + scatter_bytes
    gate_bytes = head.gate_bytes(manifest)
    if steps is not None:
        more = {} if engine == "torch" else {"quick": quick_steps}
        train_bytes = max(train_bytes, head.step_bytes(manifest, *steps, **more))
    elif engine != "torch":  # the head is given back before the rows are solved
        train_bytes = max(taps_bytes, plan_ort.SOLVING_BYTES + scatter_bytes)
        gate_bytes = plan_ort.SOLVED_BYTES + int(SOLVED_ENTRY_BYTES * manifest.head.tap_size**2)
    disk_bytes = images * (math.prod(manifest.feature.shape) + 8)
    disk_bytes += (3 if steps else 1) * manifest.cost.head_parameter_bytes + sums_bytes(manifest, images)
    return Plan(
        base_bytes=_own_bytes(),
        install_bytes=plan_trunk.install_bytes(manifest),
        extract_bytes=plan_trunk.extract_bytes(manifest),
        import_bytes=head.loaded_bytes(manifest),
        train_bytes=train_bytes,
        gate_bytes=gate_bytes,
        disk_bytes=disk_bytes,
        quick_steps=quick_steps,
    )


def _own_bytes() -> int:
    return (process_memory.sample(with_pss=False).rss_bytes or 0) + large_pieces_bytes(
        os.uname().sysname, os.uname().release
    )


def large_pieces_bytes(system: str, release: str) -> int:
    """What onnxruntime's libraries may take more under a kernel, where the page cache holds large pieces of them."""
    version = re.match(r"(\d+)\.(\d+)", release)
    new = system == "Linux" and version and tuple(map(int, version.groups())) >= LARGE_PIECES_SINCE
    return LARGE_PIECES_BYTES if new else 0


def covariance_bytes(manifest: Manifest) -> int:
    """What sums are pooled and solved in."""
    return int(COVARIANCE_ENTRY_BYTES * manifest.head.tap_size**2)


def sums_bytes(manifest: Manifest, images: int) -> int:
    """What a task writes of its classes' sums, at most: a float16 number a tap and image, then a float32 triangle."""
    size = manifest.head.tap_size
    return 2 * size * images + 2 * size**2


def classifier_bytes(manifest: Manifest, classes: int) -> int:
    """A generation's classifier: rows in closed form, and the terms of the novelty score."""
    size = manifest.head.tap_size
    return 4 * classes * size + 2 * size * (size + 3) + 8 * classes


@dataclass(frozen=True)
class Crowd:
    """How many classes and samples meet: arrays of a number for each class and sample are small only for few classes.

    Attributes:
        known: classes known before the task.
        classes: known after it.
        judged: samples that the classifiers before and after it are judged on, at most.
        images: of the task.
        remembered: samples in the feature buffer, at most.
    """

    known: int = 0
    classes: int = 0
    judged: int = 0
    images: int = 0
    remembered: int = 0

    def added_to(self, plan: Plan, manifest: Manifest, *, closed_form: bool, trains: bool) -> Plan:
        """The plan of a strategy whose logits are in ``closed_form``, or that ``trains`` the head, or both."""
        size, count, pool = manifest.head.tap_size, self.classes, self.images + self.remembered
        sums, taps = 2 * size * self.images, 2 * size * self.judged
        made = 4 * size * self.judged  # taps in float32, before they are kept
        solved = SOLVING_COPIES * 8 * count * (size + count)
        logits = 4 * self.judged * (self.known + (3 if trains else 1) * count)  # before, without and with training
        fitted = FITTING_COPIES * 8 * min(FITTED_LOGITS, self.judged * count)
        kept = 4 * count * size + 8 * count**2 + logits + fitted
        if trains and closed_form:
            kept += 4 * pool * count  # logits to train on top of
        elif trains:
            made += STARTING_COPIES * 4 * pool * manifest.head.penultimate_size  # of which class means are made
        extra = int(sums + taps + max(made, solved, kept))
        return replace(plan, train_bytes=plan.train_bytes + extra, gate_bytes=plan.gate_bytes + extra)


@dataclass(frozen=True)
class Carried:
    """What a run holds besides its bundle."""

    generation_bytes: int = 0  # classifier, held-out samples and feature buffer of the generation it starts from
    buffer_bytes: int = 0  # of the feature buffer after the task, at most
    bundle_bytes: int = 0  # to be copied into a new state

    def added_to(self, plan: Plan) -> Plan:
        """The plan of a run from nothing, with what this run holds."""
        earlier = int(GENERATION_COPIES * self.generation_bytes)
        return replace(
            plan,
            import_bytes=plan.import_bytes + earlier,
            train_bytes=plan.train_bytes + earlier,
            gate_bytes=plan.gate_bytes + earlier + 2 * self.buffer_bytes,  # the old buffer and the new one
            disk_bytes=plan.disk_bytes + self.generation_bytes + self.buffer_bytes + self.bundle_bytes,
        )


def plan_prediction(manifest: Manifest) -> int:
    """Peak bytes of the whole process when it predicts: now, plus trunk, learned head and a batch of images."""
    head_bytes = int(PREDICTING_HEAD_COPIES * manifest.cost.head_parameter_bytes)
    return _own_bytes() + plan_trunk.extract_bytes(manifest) + head_bytes

"""What a training will need, before it starts; ``allowance.py`` refuses what does not fit.

The phases follow one another, so the plan's peak is the largest phase, not their sum. The base is this
process's size as it is now; the other figures come from the manifest's counts.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.machine import memory
from lightcl_edge.planning import ort as plan_ort
from lightcl_edge.planning import torch as plan_torch
from lightcl_edge.planning import trunk as plan_trunk

# Coefficients, here and in plan_trunk, plan_ort, plan_torch: measured on x86-64 with onnxruntime 1.32 and torch 2.13.
# `lightcl-host cost --check` prints predicted against measured for each phase; docs/cost.md says how to fit them.
#: Size of `lightcl-edge train` when it plans, for predictions made elsewhere: Python, numpy, this package.
DEVICE_BASE_BYTES = 42 * plan_trunk.MIB
#: Of each entry of the covariance that discriminant analysis takes.
COVARIANCE_ENTRY_BYTES = 14.5
#: What an earlier generation left (statistics, held-out and remembered samples): as it was read, and as it is used.
KEPT_COPIES = 2.2
#: Copies of the learned head beside the trunk when predicting.
PREDICTING_HEAD_COPIES = 1.0


@dataclass(frozen=True)
class Plan:
    """Predicted bytes of a training run."""

    base_bytes: int
    install_bytes: int
    extract_bytes: int
    import_bytes: int
    train_bytes: int
    gate_bytes: int
    disk_bytes: int

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
    manifest: Manifest,
    engine: str,
    batch_size: int,
    buffer_samples: int,
    images: int,
) -> Plan:
    """Predict a run."""
    head = plan_torch if engine == "torch" else plan_ort
    return Plan(
        base_bytes=_own_bytes(),
        install_bytes=plan_trunk.install_bytes(manifest),
        extract_bytes=plan_trunk.extract_bytes(manifest),
        import_bytes=head.loaded_bytes(manifest),
        train_bytes=head.step_bytes(manifest, batch_size, buffer_samples),
        gate_bytes=head.gate_bytes(manifest),
        disk_bytes=_store_bytes(manifest, images) + 3 * manifest.cost.head_parameter_bytes,
    )


def _own_bytes() -> int:
    """This process as it is now."""
    return memory.sample(with_pss=False).rss_bytes or 0


def _store_bytes(manifest: Manifest, images: int) -> int:
    """Of the feature store on disk."""
    return images * (math.prod(manifest.feature.shape) + 8)


def plan_closed_form(manifest: Manifest, engine: str, images: int, covariance: bool = True) -> Plan:
    """Predict a run of a strategy without gradients: the head forward, a covariance, and the classifier from it."""
    head = plan_torch if engine == "torch" else plan_ort
    working = covariance_bytes(manifest) if covariance else 0
    return Plan(
        base_bytes=_own_bytes(),
        install_bytes=plan_trunk.install_bytes(manifest),
        extract_bytes=plan_trunk.extract_bytes(manifest),
        import_bytes=head.loaded_bytes(manifest),
        train_bytes=head.closed_form_bytes(manifest) + working,
        gate_bytes=head.gate_bytes(manifest),
        disk_bytes=_store_bytes(manifest, images) + manifest.cost.head_parameter_bytes,
    )


def covariance_bytes(manifest: Manifest) -> int:
    """What discriminant analysis works with, for a classifier of so many inputs."""
    return int(COVARIANCE_ENTRY_BYTES * manifest.head.penultimate_size**2)


def stored_statistics_bytes(manifest: Manifest) -> int:
    """What discriminant analysis keeps in a generation: half of a symmetric matrix in float32."""
    return 2 * manifest.head.penultimate_size**2


@dataclass(frozen=True)
class Carried:
    """What a run holds besides its bundle.

    Attributes:
        memory_bytes: of the long-term memory after the task, at most.
    """

    kept_bytes: int = 0
    memory_bytes: int = 0
    bundle_bytes: int = 0

    def added_to(self, plan: Plan) -> Plan:
        """The plan with that.

        Returns:
            The plan of this run. While the memory is filled the old one and the new one are there.
        """
        kept = int(KEPT_COPIES * self.kept_bytes)
        return replace(
            plan,
            extract_bytes=plan.extract_bytes + kept,
            import_bytes=plan.import_bytes + kept,
            train_bytes=plan.train_bytes + kept,
            gate_bytes=plan.gate_bytes + kept + 2 * self.memory_bytes,
            disk_bytes=plan.disk_bytes + self.kept_bytes + self.memory_bytes + self.bundle_bytes,
        )


def plan_prediction(manifest: Manifest) -> int:
    """Bytes of the whole process when it predicts, at its peak.

    Returns:
        This process as it is now, and what the trunk, the learned head and a batch of images add.
    """
    trunk = plan_trunk.extract_bytes(manifest)
    return _own_bytes() + trunk + int(PREDICTING_HEAD_COPIES * manifest.cost.head_parameter_bytes)

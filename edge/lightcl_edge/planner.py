"""What a training will need, before it starts; ``allowance.py`` refuses what does not fit.

The phases follow one another, so the plan's peak is the largest phase, not their sum. The base is this
process's size as it is now; the other figures come from the manifest's counts.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from lightcl_edge import memory
from lightcl_edge.engines.step_choice import ACCUMULATE, IN_PLACE, choose_step
from lightcl_edge.extraction import extraction_batch
from lightcl_edge.image_file import planned_decoding_bytes
from lightcl_edge.manifest import Manifest

MIB = 2**20
# Coefficients: measured on x86-64 with onnxruntime 1.32 and torch 2.13. `lightcl-host cost --check` prints predicted
# against measured for each phase, and `--json` has what is needed to fit them again; docs/cost.md says how.
#: Size of `lightcl-edge train` when it plans, for predictions made elsewhere: Python, numpy, this package.
DEVICE_BASE_BYTES = 42 * MIB
#: What onnxruntime adds when it turns images into features, and when it trains.
ONNXRUNTIME_BYTES = 29 * MIB
ONNXRUNTIME_TRAINING_BYTES = int(12.5 * MIB)
#: What importing torch adds, and copies of the head once it is loaded.
TORCH_IMPORT_BYTES, TORCH_HEAD_COPIES = 193 * MIB, 1.97
#: Copies of the trunk's weights while it is opened (file, initialisers, re-laid for the processor), and once it runs.
OPENING_TRUNK_COPIES, RUNNING_TRUNK_COPIES = 3.4, 1.0
#: Share of the counted activations that are there at once (onnxruntime fuses operators); copies of an image being read.
WORKSPACE_FACTOR, PIXEL_COPIES = 0.35, 2.0
#: First use: onnxruntime, copies of the trunk, of the head (its session beside the trunk's), of golden activations.
INSTALL_BYTES, INSTALL_TRUNK_COPIES, INSTALL_HEAD_COPIES, INSTALL_ACTIVATION_COPIES = 26 * MIB, 2.5, 0.5, 0.25
#: A step may take this much of what extraction takes, if that makes it faster.
ACCEPTED_STEP_SHARE = 1.1
#: Where a strategy has no gradients: onnxruntime with the forward graph, copies of the head and of the largest
#: activation of one sample; and bytes for each entry of the covariance (docs/cost.md).
CLOSED_FORM_BYTES, CLOSED_FORM_HEAD_COPIES, CLOSED_FORM_LARGEST_COPIES = int(16.5 * MIB), 1.8, 37
COVARIANCE_ENTRY_BYTES = 14.5
#: After the trunk is closed: what is left of onnxruntime, and the description of a step's graph as it is read.
#: Parameters have room by then, but take no memory before they are loaded.
AFTER_TRUNK_BYTES = 7 * MIB
#: When a head is judged and written, after the step's session is closed: onnxruntime with the forward graph, copies of
#: the head, and of the largest activation and the feature of one sample, for the few that are computed at once.
GATE_BYTES, GATE_HEAD_COPIES, GATE_LARGEST_COPIES, GATE_FEATURE_COPIES = int(14.8 * MIB), 1.08, 46, 44
#: In a step, torch itself with its thread pools, copies of the head, of a batch's activations, and of its largest.
TORCH_STEP_BYTES, TORCH_STEP_HEAD_COPIES, TORCH_ACTIVATION_COPIES, TORCH_LARGEST_COPIES = 228 * MIB, 1.37, 0.95, 4.75
#: The same where a strategy has no gradients.
TORCH_CLOSED_FORM_BYTES, TORCH_CLOSED_FORM_HEAD_COPIES = 216 * MIB, 2.13
#: When a head is judged and written: torch, copies of the head, and of one sample's largest activation.
TORCH_GATE_BYTES, TORCH_GATE_HEAD_COPIES, TORCH_GATE_LARGEST_COPIES = 224 * MIB, 1.15, 73
#: What an earlier generation left (statistics, held-out and remembered samples): as it was read, and as it is used.
KEPT_COPIES = 2.2
#: Copies of the learned head beside the trunk when predicting.
PREDICTING_HEAD_COPIES = 1.0


@dataclass(frozen=True)
class Plan:
    """Predicted bytes of a training run.

    Attributes:
        base_bytes: this process before it loads anything.
        install_bytes: added by the check of the golden images, the first time.
        extract_bytes: added by the trunk and one batch of images.
        import_bytes: added by the engine before it has a head.
        train_bytes: added by the engine, the head and one batch of features.
        gate_bytes: added by what of that is still held when the new head is judged and written.
        disk_bytes: feature store, checkpoint and one generation.
    """

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
    base_bytes: int | None = None,
) -> Plan:
    """Predict a run.

    Args:
        manifest: of the bundle.
        engine: ``ort`` or ``torch``.
        batch_size: samples a step.
        buffer_samples: samples with patterns a step.
        images: of the task.
        base_bytes: of the process before it loads anything; None for this process as it is now.

    Returns:
        The plan.
    """
    feature_bytes = math.prod(manifest.feature.shape)
    base = (memory.sample(with_pss=False).rss_bytes or 0) if base_bytes is None else base_bytes
    loaded, train, gate = (_torch_bytes if engine == "torch" else _ort_bytes)(manifest, batch_size, buffer_samples)
    return Plan(
        base_bytes=base,
        install_bytes=_install_bytes(manifest),
        extract_bytes=_extract_bytes(manifest),
        import_bytes=loaded,
        train_bytes=train,
        gate_bytes=gate,
        disk_bytes=images * (feature_bytes + 8) + 3 * manifest.cost.head_parameter_bytes,
    )


def _trunk_weight_bytes(manifest: Manifest) -> int:
    """As they are in memory: a processor computes half precision in float32."""
    stored = manifest.cost.trunk_parameter_bytes
    return 2 * stored if manifest.model.trunk_dtype == "fp16" else stored


def _install_bytes(manifest: Manifest) -> int:
    """Trunk and head at once, and the golden images."""
    cost = manifest.cost
    golden = INSTALL_ACTIVATION_COPIES * manifest.golden.count * cost.trunk_peak_activation_bytes
    weights = INSTALL_TRUNK_COPIES * _trunk_weight_bytes(manifest) + INSTALL_HEAD_COPIES * cost.head_parameter_bytes
    return int(INSTALL_BYTES + weights + golden)


def _extract_bytes(manifest: Manifest) -> int:
    """The trunk as it is opened, or a batch of images on its way through it."""
    cost, pixels = manifest.cost, 4 * 3 * manifest.input.height * manifest.input.width
    image = WORKSPACE_FACTOR * cost.trunk_peak_activation_bytes + PIXEL_COPIES * pixels
    weights = _trunk_weight_bytes(manifest)
    running = RUNNING_TRUNK_COPIES * weights + extraction_batch(manifest) * image
    running += planned_decoding_bytes(manifest.input.width, manifest.input.height)
    return int(ONNXRUNTIME_BYTES + max(OPENING_TRUNK_COPIES * weights, running))


def _torch_bytes(manifest: Manifest, batch_size: int, buffer_samples: int) -> tuple[int, int, int]:
    """Added once torch is loaded with the head, in a step, and afterwards."""
    cost, rows = manifest.cost, batch_size + buffer_samples
    activations, largest = rows * cost.head_activation_bytes, rows * cost.head_largest_activation_bytes
    step = TORCH_STEP_BYTES + TORCH_STEP_HEAD_COPIES * cost.head_parameter_bytes
    step += TORCH_ACTIVATION_COPIES * activations + TORCH_LARGEST_COPIES * largest
    gate = _torch_gate_bytes(manifest)
    return _torch_loaded_bytes(manifest), max(int(step), gate), gate


def _torch_loaded_bytes(manifest: Manifest) -> int:
    """Added once torch is there with the head."""
    return int(TORCH_IMPORT_BYTES + TORCH_HEAD_COPIES * manifest.cost.head_parameter_bytes)


def _torch_gate_bytes(manifest: Manifest) -> int:
    """Added while a head is judged and written."""
    cost = manifest.cost
    largest = TORCH_GATE_LARGEST_COPIES * cost.head_largest_activation_bytes
    return int(TORCH_GATE_BYTES + TORCH_GATE_HEAD_COPIES * cost.head_parameter_bytes + largest)


def _ort_bytes(manifest: Manifest, batch_size: int, buffer_samples: int) -> tuple[int, int, int]:
    """Added before the head is loaded, in a step, and afterwards."""
    step = _held_bytes(manifest, batch_size, buffer_samples) + _step_bytes(manifest, batch_size, buffer_samples)
    return AFTER_TRUNK_BYTES, int(step), _ort_gate_bytes(manifest)


def _ort_gate_bytes(manifest: Manifest) -> int:
    """Added while a head is judged and written, by whatever strategy it was learned."""
    cost = manifest.cost
    samples = GATE_LARGEST_COPIES * cost.head_largest_activation_bytes + GATE_FEATURE_COPIES * _feature_bytes(manifest)
    return int(GATE_BYTES + GATE_HEAD_COPIES * cost.head_parameter_bytes + samples)


def _feature_bytes(manifest: Manifest) -> int:
    """Of one sample, in float32."""
    return 4 * math.prod(manifest.feature.shape)


def _held_bytes(manifest: Manifest, batch_size: int, buffer_samples: int) -> float:
    """What training in onnxruntime holds beside the working memory of a step."""
    cost, rows = manifest.cost, batch_size + buffer_samples
    data = rows * _feature_bytes(manifest) + buffer_samples * cost.head_pattern_bytes
    return ONNXRUNTIME_TRAINING_BYTES + cost.head_parameter_bytes + data


def _step_bytes(manifest: Manifest, batch_size: int, buffer_samples: int) -> int:
    """Working memory and accumulators of a step of the kind that the engine takes.

    Where no in-place graph is large enough for the batch, gradients are accumulated.
    """
    graphs, parameters = manifest.training_step, manifest.cost.head_parameter_bytes
    if not graphs:
        return 0
    spare, patterns = spare_step_bytes(manifest, batch_size, buffer_samples), buffer_samples > 0
    choice = choose_step(graphs, parameters, spare_bytes=spare, patterns=patterns)
    fits = any(
        graph.update == IN_PLACE and graph.samples >= batch_size and graph.buffered_samples >= buffer_samples
        for graph in graphs
    )
    if choice.update == IN_PLACE and not fits and any(graph.update == ACCUMULATE for graph in graphs):
        choice = choose_step(graphs, parameters, update=ACCUMULATE, patterns=patterns)
    return choice.needed_bytes


def spare_step_bytes(manifest: Manifest, batch_size: int, buffer_samples: int) -> int:
    """Memory a training step may take without raising the run's peak by much, because extraction needs as much.

    Args:
        manifest: of the bundle.
        batch_size: samples a step.
        buffer_samples: samples with patterns a step.

    Returns:
        Bytes; 0 or less where training is the larger phase whatever it does.
    """
    allowed = ACCEPTED_STEP_SHARE * _extract_bytes(manifest)
    return int(allowed - _held_bytes(manifest, batch_size, buffer_samples))


def plan_closed_form(manifest: Manifest, engine: str, images: int, covariance: bool = True) -> Plan:
    """Predict a run of a strategy without gradients: the head forward, a covariance, and the classifier from it.

    Args:
        manifest: of the bundle.
        engine: ``ort`` or ``torch``.
        images: of the task.
        covariance: whether the strategy needs one.

    Returns:
        The plan.
    """
    cost = manifest.cost
    working = covariance_bytes(manifest) if covariance else 0
    if engine == "torch":
        loaded, gate = _torch_loaded_bytes(manifest), _torch_gate_bytes(manifest)
        train = TORCH_CLOSED_FORM_BYTES + TORCH_CLOSED_FORM_HEAD_COPIES * cost.head_parameter_bytes
    else:
        loaded, gate = AFTER_TRUNK_BYTES, _ort_gate_bytes(manifest)
        train = CLOSED_FORM_BYTES + CLOSED_FORM_HEAD_COPIES * cost.head_parameter_bytes
        train += CLOSED_FORM_LARGEST_COPIES * cost.head_largest_activation_bytes
    disk = images * (math.prod(manifest.feature.shape) + 8) + cost.head_parameter_bytes
    base = memory.sample(with_pss=False).rss_bytes or 0
    return Plan(
        base_bytes=base,
        install_bytes=_install_bytes(manifest),
        extract_bytes=_extract_bytes(manifest),
        import_bytes=loaded,
        train_bytes=int(train + working),
        gate_bytes=gate,
        disk_bytes=disk,
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
        kept_bytes: statistics, held-out and remembered samples of the generation it starts from.
        memory_bytes: of the long-term memory after the task, at most.
        bundle_bytes: that are to be copied into a new state.
    """

    kept_bytes: int = 0
    memory_bytes: int = 0
    bundle_bytes: int = 0

    def added_to(self, plan: Plan) -> Plan:
        """The plan with that.

        Args:
            plan: of a run from nothing.

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

    Args:
        manifest: of the bundle.

    Returns:
        This process as it is now, and what the trunk, the learned head and a batch of images add.
    """
    base = memory.sample(with_pss=False).rss_bytes or 0
    return base + _extract_bytes(manifest) + int(PREDICTING_HEAD_COPIES * manifest.cost.head_parameter_bytes)

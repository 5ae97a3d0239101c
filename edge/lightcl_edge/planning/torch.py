"""Bytes that the ``torch`` engine adds to the process, by phase."""

from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.planning.trunk import MIB

#: What importing torch and onnx adds, and copies of the head once it is loaded.
IMPORT_BYTES, HEAD_COPIES = 199 * MIB, 1.97
#: In a step, torch itself with its thread pools, copies of the head, of a batch's activations, and of the patterns.
STEP_BYTES, STEP_HEAD_COPIES, ACTIVATION_COPIES, PATTERN_COPIES = int(240.7 * MIB), 1.31, 0.86, 3.9
#: The same where a strategy has no gradients.
CLOSED_FORM_BYTES, CLOSED_FORM_HEAD_COPIES = 222 * MIB, 2.13
#: When a head is judged and written: torch, copies of the head, and of one sample's largest activation.
GATE_BYTES, GATE_HEAD_COPIES, GATE_LARGEST_COPIES = 230 * MIB, 1.15, 73


def loaded_bytes(manifest: Manifest) -> int:
    """Once torch is there with the head."""
    return int(IMPORT_BYTES + HEAD_COPIES * manifest.cost.head_parameter_bytes)


def step_bytes(manifest: Manifest, batch_size: int, pattern_samples: int) -> int:
    """While steps are made."""
    cost, rows = manifest.cost, batch_size + pattern_samples
    patterns = PATTERN_COPIES * pattern_samples * cost.head_pattern_bytes
    batch = ACTIVATION_COPIES * rows * cost.head_activation_bytes + patterns
    step = STEP_BYTES + STEP_HEAD_COPIES * cost.head_parameter_bytes + batch
    return max(int(step), gate_bytes(manifest))


def closed_form_bytes(manifest: Manifest) -> int:
    """While a strategy without gradients learns; its covariance not counted."""
    return int(CLOSED_FORM_BYTES + CLOSED_FORM_HEAD_COPIES * manifest.cost.head_parameter_bytes)


def gate_bytes(manifest: Manifest) -> int:
    """While a head is judged and written."""
    cost = manifest.cost
    largest = GATE_LARGEST_COPIES * cost.head_largest_activation_bytes
    return int(GATE_BYTES + GATE_HEAD_COPIES * cost.head_parameter_bytes + largest)

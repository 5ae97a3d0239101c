"""What the ``torch`` engine needs: bytes that it adds to the process, by phase."""

from __future__ import annotations

from lightcl_edge.manifest import Manifest
from lightcl_edge.plan_trunk import MIB

#: What importing torch adds, and copies of the head once it is loaded.
IMPORT_BYTES, HEAD_COPIES = 193 * MIB, 1.97
#: In a step, torch itself with its thread pools, copies of the head, of a batch's activations, and of its largest.
STEP_BYTES, STEP_HEAD_COPIES, ACTIVATION_COPIES, LARGEST_COPIES = 228 * MIB, 1.37, 0.95, 4.75
#: The same where a strategy has no gradients.
CLOSED_FORM_BYTES, CLOSED_FORM_HEAD_COPIES = 216 * MIB, 2.13
#: When a head is judged and written: torch, copies of the head, and of one sample's largest activation.
GATE_BYTES, GATE_HEAD_COPIES, GATE_LARGEST_COPIES = 224 * MIB, 1.15, 73


def loaded_bytes(manifest: Manifest) -> int:
    """Once torch is there with the head."""
    return int(IMPORT_BYTES + HEAD_COPIES * manifest.cost.head_parameter_bytes)


def step_bytes(manifest: Manifest, batch_size: int, buffer_samples: int) -> int:
    """While steps are made."""
    cost, rows = manifest.cost, batch_size + buffer_samples
    batch = ACTIVATION_COPIES * cost.head_activation_bytes + LARGEST_COPIES * cost.head_largest_activation_bytes
    step = STEP_BYTES + STEP_HEAD_COPIES * cost.head_parameter_bytes + rows * batch
    return max(int(step), gate_bytes(manifest))


def closed_form_bytes(manifest: Manifest) -> int:
    """While a strategy without gradients learns, less its covariance."""
    return int(CLOSED_FORM_BYTES + CLOSED_FORM_HEAD_COPIES * manifest.cost.head_parameter_bytes)


def gate_bytes(manifest: Manifest) -> int:
    """While a head is judged and written."""
    cost = manifest.cost
    largest = GATE_LARGEST_COPIES * cost.head_largest_activation_bytes
    return int(GATE_BYTES + GATE_HEAD_COPIES * cost.head_parameter_bytes + largest)

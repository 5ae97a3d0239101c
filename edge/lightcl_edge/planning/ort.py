"""Bytes that the ``ort`` engine adds to the process, by phase."""

import math

from lightcl_edge.bundle.graph_names import ACCUMULATE, IN_PLACE
from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.planning.step_choice import choose_step
from lightcl_edge.planning.trunk import MIB, extract_bytes

#: After the trunk is closed: what is left of onnxruntime, and the description of a step's graph as it is read.
#: Room for the parameters takes no memory before they are loaded.
AFTER_TRUNK_BYTES = 5 * MIB
#: What onnxruntime adds when it trains.
TRAINING_BYTES = int(12.5 * MIB)
#: A step may take this much of what extraction takes, if that makes it faster.
ACCEPTED_STEP_SHARE = 1.75
#: And this much in any case: a process that begins with 42 MiB then takes about 100 MB (heads of mobile networks were
#: measured at 79 to 94).
MODEST_STEP_BYTES = 70 * MIB
#: A strategy without gradients: onnxruntime with the forward graph, copies of the head and of the largest activation
#: of one sample.
CLOSED_FORM_BYTES, CLOSED_FORM_HEAD_COPIES, CLOSED_FORM_LARGEST_COPIES = int(16.5 * MIB), 1.0, 37
#: The same strategy while it solves for its rows, and while these are judged and written: the head is given back.
SOLVING_BYTES, SOLVED_BYTES = 15 * MIB, int(18.8 * MIB)
#: A head that is judged and written, after the step's session is closed: onnxruntime with the forward graph, copies of
#: the head, and of the largest activation and the feature of one sample for the few that are computed at once.
GATE_BYTES, GATE_HEAD_COPIES, GATE_LARGEST_COPIES, GATE_FEATURE_COPIES = 8 * MIB, 1.08, 46, 44


def loaded_bytes(_manifest: Manifest) -> int:
    """Before the head is loaded."""
    return AFTER_TRUNK_BYTES


def step_bytes(manifest: Manifest, batch_size: int, pattern_samples: int, *, quick: bool = True) -> int:
    """While steps are made, of the kind that the engine takes, ``quick`` as for :func:`spare_step_bytes`.

    If no in-place graph is large enough for the batch, gradients are accumulated.
    """
    held = _held_bytes(manifest, batch_size, pattern_samples)
    graphs, parameters = manifest.training_step, manifest.cost.head_parameter_bytes
    if not graphs:
        return held
    spare, patterns = spare_step_bytes(manifest, batch_size, pattern_samples, quick=quick), pattern_samples > 0
    choice = choose_step(graphs, parameters, spare_bytes=spare, patterns=patterns)
    fits = any(
        graph.update == IN_PLACE and graph.samples >= batch_size and graph.buffered_samples >= pattern_samples
        for graph in graphs
    )
    if choice.update == IN_PLACE and not fits and any(graph.update == ACCUMULATE for graph in graphs):
        choice = choose_step(graphs, parameters, update=ACCUMULATE, patterns=patterns)
    return held + choice.needed_bytes


def spare_step_bytes(manifest: Manifest, batch_size: int, pattern_samples: int, *, quick: bool = True) -> int:
    """Memory that a step may take because extraction needs about as much; below 0 if training always needs more.

    Where it should be ``quick`` it may take what is modest too.
    """
    allowed = max(ACCEPTED_STEP_SHARE * extract_bytes(manifest), MODEST_STEP_BYTES if quick else 0)
    return int(allowed - _held_bytes(manifest, batch_size, pattern_samples))


def closed_form_bytes(manifest: Manifest) -> int:
    """While the head as exported makes taps."""
    cost = manifest.cost
    largest = CLOSED_FORM_LARGEST_COPIES * cost.head_largest_activation_bytes
    return int(CLOSED_FORM_BYTES + CLOSED_FORM_HEAD_COPIES * cost.head_parameter_bytes + largest)


def gate_bytes(manifest: Manifest) -> int:
    """While a head is judged and written, whatever strategy learned it."""
    cost = manifest.cost
    samples = GATE_LARGEST_COPIES * cost.head_largest_activation_bytes + GATE_FEATURE_COPIES * _feature_bytes(manifest)
    return int(GATE_BYTES + GATE_HEAD_COPIES * cost.head_parameter_bytes + samples)


def _held_bytes(manifest: Manifest, batch_size: int, pattern_samples: int) -> int:
    """Beside the working memory of a step: parameters, a batch of features, the patterns."""
    cost, rows = manifest.cost, batch_size + pattern_samples
    data = rows * _feature_bytes(manifest) + pattern_samples * cost.head_pattern_bytes
    return TRAINING_BYTES + cost.head_parameter_bytes + data


def _feature_bytes(manifest: Manifest) -> int:
    return 4 * math.prod(manifest.feature.shape)

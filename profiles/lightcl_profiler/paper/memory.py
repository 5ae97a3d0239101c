"""Memory as the paper calculates it (Wang et al., ASP-DAC 2025, Table 1), for any network.

``W`` is the bytes of all parameters in float32. ``A`` is the bytes of one image's convolution outputs, without those of
shortcuts. The formulas were found from the published figures; docs/builders/cost.md derives each and says which figures
no formula gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass

#: What the paper counts its sparse LightCL and its SparCL at.
PAPER_SPARSITY = 0.9
#: What baselines/sparcl.py really leaves out.
SPARCL_SPARSITY = 0.75
PATTERN_RATIO = 0.15


@dataclass(frozen=True)
class NetworkCount:
    """What the formulas need of a network. Sizes are bytes in float32; all else is of one image's forward pass.

    ``head`` is the part after the cut, which LightCL trains. ``kept`` counts only the channels that sparse LightCL
    keeps. Multiply-adds are those of convolutions and matrix products: all others are few beside them.
    """

    parameters: int
    head_parameters: int
    convolutions: int
    activations: int
    head_activations: int
    largest_frozen: int
    multiply_adds: int = 0
    head_multiply_adds: int = 0
    kept_multiply_adds: int = 0
    kept_head_multiply_adds: int = 0
    head_convolutions: int = 0


def calculated_bytes(
    method: str,
    count: NetworkCount,
    batch: int,
    buffer: int,
    tasks: int,
    *,
    sparcl_sparsity: float = SPARCL_SPARSITY,
    column_saving_bytes: int = 0,
) -> int | None:
    """What the paper's formula gives in bytes; None where there is no formula.

    Args:
        method: a baseline's name, or ``device:NAME`` for a strategy of the device. The paper has a formula for the
            device's LightCL; those of the other strategies follow the same way from what they hold.
        batch: images a step.
        buffer: remembered images a step.
        sparcl_sparsity: share of the convolution weights that SparCL leaves out.
        column_saving_bytes: how much smaller a column of PNN is than the network: its classifier has fewer classes.
    """
    w, a = count.parameters, count.activations
    sparse = round(2 * sparcl_sparsity * count.convolutions)
    patterns = round(buffer * PATTERN_RATIO * count.head_activations)
    light = w + count.head_parameters + (batch + buffer) * (count.head_activations + count.largest_frozen) + patterns
    zeros = round(PAPER_SPARSITY * (count.convolutions + count.head_convolutions))
    head_trained = w + count.head_parameters + batch * (count.head_activations + count.largest_frozen)
    fitted = round((1 + PATTERN_RATIO) * w) + count.head_parameters + (batch + buffer) * count.largest_frozen
    forward = w + batch * count.largest_frozen
    found: Mapping[str, int] = {
        "joint": 2 * w + batch * a,
        "sgd": 2 * w + batch * a,
        "ewc": 3 * w + batch * a,
        "pnn": (tasks + 1) * (w - column_saving_bytes) + batch * a,
        "fdr": 2 * w + (batch + buffer) * a,
        "er": 2 * w + (batch + buffer) * a,
        "derpp": 2 * w + (batch + 2 * buffer) * a,
        "sparcl_er": 2 * w - sparse + (batch + buffer) * a,
        "sparcl_derpp": 2 * w - sparse + (batch + 2 * buffer) * a,
        "lightcl_torch": light,
        "lightcl_joint": fitted,
        "lightcl_sparse": light - zeros,
        "device:lightcl": light,
        "device:replay": head_trained,
        "device:finetune": head_trained,
        "device:slda": forward,
        "device:ncm": forward,
    }
    return found.get(method)

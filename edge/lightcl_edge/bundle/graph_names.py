"""Names inside the graphs of a bundle, for host and device."""

from collections.abc import Iterable

import numpy as np

#: Inputs and outputs of trunk and head.
IMAGE, FEATURES, LOGITS, PENULTIMATE = "image", "features", "logits", "penultimate"
#: Output of the head: its pooled activations at several depths, each divided by its length, side by side.
TAPS = "taps"
#: Parameters of the classifier.
WEIGHT, BIAS = "classifier.weight", "classifier.bias"

#: What a training-step graph does with the gradients: change the parameters, or add them up.
IN_PLACE, ACCUMULATE = "in_place", "accumulate"
UPDATES = ("auto", IN_PLACE, ACCUMULATE)
#: Graphs without a step: of whole parameters, and of parameters as the engine holds them.
FORWARD, EVALUATE = "forward", "evaluate"

#: The logit offset of classes that take no part; exp() of it is exactly 0 in float32.
MASKED_LOGIT = np.float32(-1e4)
#: Rows that the head takes at once outside of training; few, so that evaluation needs less memory than a step.
FORWARD_ROWS = 8
#: Between the name of a kernel and the number of one of its positions.
POSITION_MARK = "@"


def position_name(parameter: str, position: int) -> str:
    """The graph input that holds one position of a kernel."""
    return f"{parameter}{POSITION_MARK}{position}"


def position_names(parameter: str, positions: int) -> list[str]:
    """The graph inputs of a kernel with so many positions, in order."""
    return [position_name(parameter, position) for position in range(positions)]


def parameters_of(inputs: Iterable[str]) -> set[str]:
    """The parameters that some graph inputs are, or are positions of."""
    return {name.rpartition(POSITION_MARK)[0] or name for name in inputs}

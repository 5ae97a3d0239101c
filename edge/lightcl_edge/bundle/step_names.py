"""Names inside a training-step graph, host and device."""

from __future__ import annotations

import numpy as np

#: Added to the logits of classes that take no part; exp() of it is exactly 0 in float32.
MASKED_LOGIT = np.float32(-1e4)


_MARK = "@"


#: Kinds of graphs without a step: of whole parameters, and of parameters as the engine holds them.
FORWARD, EVALUATE = "forward", "evaluate"


#: Rows that the head takes at once outside of training; few, so that evaluation needs less memory than a step.
FORWARD_ROWS = 8


def tap_name(parameter: str, tap: int) -> str:
    """The graph input that is one tap of a kernel."""
    return f"{parameter}{_MARK}{tap}"


def parameter_of(piece: str) -> str:
    """The parameter that a piece belongs to."""
    return piece.rpartition(_MARK)[0] or piece


IN_PLACE, ACCUMULATE = "in_place", "accumulate"


UPDATES = ("auto", IN_PLACE, ACCUMULATE)

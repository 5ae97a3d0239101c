"""What a gradient rule gives for one input of a node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Emits ``base + scale * gradient`` without holding the gradient itself, and names the result. ``base`` is the
#: parameter or its accumulator, None for 0. ``scale`` has one element, None for 1. The result has the parameter's
#: values in their order, perhaps in another shape.
ParameterGradient = Callable[[str | None, str | None], str]


@dataclass(frozen=True)
class PositionGradients:
    """The gradients of a kernel that is held in pieces, one for each position."""

    names: Sequence[str]  # of the pieces, which are inputs of the graph
    # emits ``base + scale * gradient`` for each piece, from the base of each (None for 0) and the scale
    add: Callable[[Sequence[str | None], str | None], list[str]]


#: A tensor, what adds the gradient to a parameter, or None where no gradient was wanted.
Gradient = str | ParameterGradient | PositionGradients | None

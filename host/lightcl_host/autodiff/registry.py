"""What a gradient rule is, and the table of all rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder


class ParameterGradient(Protocol):
    """Adds a gradient to a buffer without ever holding the gradient itself."""

    def __call__(self, base: str | None, scale: str | None) -> list[str]:
        """Emit ``base + scale * gradient``.

        Args:
            base: the parameter (or its accumulator), a graph input; None for 0.
            scale: a one-element tensor, or None for 1.

        Returns:
            Tensors that are to be written onto the buffer of ``base``, one after the other; each is read
            by the next one alone. Their shapes may differ from the parameter's, their order of values not.
        """


@dataclass(frozen=True)
class TapGradients:
    """The gradients of a kernel that is held in pieces, a tap each.

    Attributes:
        names: the pieces as the graph's inputs are called.
        add: emits ``base + scale * gradient`` for each piece, given the base of each (None for 0) and the scale.
    """

    names: Sequence[str]
    add: Callable[[Sequence[str | None], str | None], list[str]]


#: The gradient of one input of a node: a tensor, a parameter's adder, or None where none was wanted.
Gradient = str | ParameterGradient | TapGradients | None

#: ``rule(graph, node, upstream, wanted)``: emits the gradient nodes of one forward node. ``upstream`` has a
#: gradient for each output (None: the loss does not depend on it), ``wanted`` a flag for each input.
RuleFunction = Callable[[GraphBuilder, ForwardNode, Sequence[str | None], Sequence[bool]], list[Gradient]]


@dataclass(frozen=True)
class Rule:
    """A gradient rule.

    Attributes:
        function: emits the nodes.
        spreads: True if it takes upstream gradients of a shape that only broadcasts to the output's (as
            poolings give), False if they must be spread out first.
        saves: which forward tensors the rule will read; they stay alive until then.
    """

    function: RuleFunction
    spreads: bool
    saves: Callable[[ForwardNode, Sequence[bool]], Sequence[str]]


RULES: dict[str, Rule] = {}


def saves_nothing(node: ForwardNode, wanted: Sequence[bool]) -> Sequence[str]:
    """For rules that need only shapes."""
    del node, wanted
    return ()


def saves_inputs(node: ForwardNode, wanted: Sequence[bool]) -> Sequence[str]:
    """For rules that read the first two inputs, each for the other's gradient (products)."""
    first, second = node.inputs[:2]
    return [name for name, needs in ((second, wanted[0]), (first, wanted[1])) if needs]


def saves_first_input(node: ForwardNode, wanted: Sequence[bool]) -> Sequence[str]:
    """For rules that read their input again."""
    del wanted
    return node.inputs[:1]


def saves_output(node: ForwardNode, wanted: Sequence[bool]) -> Sequence[str]:
    """For rules that read their result again."""
    del wanted
    return node.outputs[:1]


def rule(
    *kinds: str,
    spreads: bool = False,
    saves: Callable[[ForwardNode, Sequence[bool]], Sequence[str]] = saves_nothing,
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a rule for operator types."""

    def register(function: RuleFunction) -> RuleFunction:
        for kind in kinds:
            RULES[kind] = Rule(function, spreads, saves)
        return function

    return register


def upstream_of(upstream: Sequence[str | None]) -> str:
    """The gradient of a node's only differentiable output; the sweep skips nodes that have none."""
    return next(name for name in upstream if name is not None)

"""What a gradient rule is, and the table of all rules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.gradients import Gradient


@dataclass(frozen=True)
class BackwardNode:
    """A forward node on the way back."""

    node: ForwardNode  # the forward node
    upstream: Sequence[str | None]  # the gradient of each output; None where the loss does not depend on it
    wanted: Sequence[bool]  # for each input, whether its gradient is needed

    @property
    def gradient(self) -> str:
        """The gradient of the only output that has one; the sweep skips nodes without any."""
        return next(name for name in self.upstream if name is not None)


#: Emits the gradients of a node's inputs, in their order; inputs beyond the list's end have none.
RuleFunction = Callable[[GraphBuilder, BackwardNode], Sequence[Gradient]]
#: The forward tensors that a rule reads again, from the node and the inputs whose gradients are wanted.
SavedTensors = Callable[[ForwardNode, Sequence[bool]], Sequence[str]]


@dataclass(frozen=True)
class Rule:
    function: RuleFunction  # emits the nodes
    # True if upstream gradients may have a shape that only broadcasts to the output's, as those of poolings have. False
    # if they must be spread out first
    spreads: bool
    saves: SavedTensors  # the tensors that stay alive until the rule reads them


RULES: dict[str, Rule] = {}


def saves_nothing(_node: ForwardNode, _wanted: Sequence[bool]) -> Sequence[str]:
    """For rules that need only shapes."""
    return ()


def saves_inputs(node: ForwardNode, wanted: Sequence[bool]) -> Sequence[str]:
    """For products: each factor is read for the other's gradient."""
    first, second = node.inputs[:2]
    return [name for name, needs in ((second, wanted[0]), (first, wanted[1])) if needs]


def saves_first_input(node: ForwardNode, _wanted: Sequence[bool]) -> Sequence[str]:
    """For rules that read their input again."""
    return node.inputs[:1]


def saves_output(node: ForwardNode, _wanted: Sequence[bool]) -> Sequence[str]:
    """For rules that read their result again."""
    return node.outputs[:1]


def rule(
    *kinds: str, spreads: bool = False, saves: SavedTensors = saves_nothing
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a rule for operator types."""

    def register(function: RuleFunction) -> RuleFunction:
        for kind in kinds:
            RULES[kind] = Rule(function, spreads, saves)
        return function

    return register

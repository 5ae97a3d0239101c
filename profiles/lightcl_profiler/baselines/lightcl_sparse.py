"""LightCL with its sparse option (Wang et al., ASP-DAC 2025): channels are masked, none is removed.

Of each convolution the filters with the smallest sum of absolute weights are set to zero, with what BatchNorm adds
to them, and stay zero: 80 % in the layers of the last spatial size, 70 % in those of the size before, 20 %
earlier. As in the reference's code nothing becomes smaller: measured memory shows that, the paper's is calculated.
"""

import torch

from lightcl_edge.learning.engines.torch_node import Node
from lightcl_profiler.baselines.contract import Batch, Build, Settings, Task, mark_largest
from lightcl_profiler.baselines.lightcl_torch import LightClTorch
from lightcl_profiler.networks.graph_network import output_shapes

#: Share of masked channels by spatial size: the last, the one before, all earlier ones.
SHARES = (0.8, 0.7, 0.2)


class LightClSparse(LightClTorch):
    """Feature patterns held on a network with masked channels."""

    def __init__(self, build: Build, settings: Settings, shares: tuple[float, ...] = SHARES) -> None:
        super().__init__(build, settings)
        self._shares = shares
        self.channels: dict[str, torch.Tensor] = {}  # weight or BatchNorm parameter -> kept channels

    def begin_task(self, task: Task) -> None:
        """Choose the channels once, before the first task."""
        if not self.channels:
            self._choose(next(task.batches(1)).images)
            self._apply_masks()
        super().begin_task(task)

    def after_update(self, batch: Batch, logits: torch.Tensor) -> None:
        self._apply_masks()

    def _choose(self, images: torch.Tensor) -> None:
        nodes = self.network.body.graph.nodes
        tensors = self.network.body.named_tensors()
        convolutions = [node for node in nodes if node.operator == "Conv" and node.inputs[1] in tensors]
        shapes = output_shapes(self.network, images)
        sides = {node.outputs[0]: shapes[node.outputs[0]][2] for node in convolutions}
        sizes = sorted(set(sides.values()))
        for node in convolutions:
            share = self._shares[min(sizes.index(sides[node.outputs[0]]), len(self._shares) - 1)]
            strength = tensors[node.inputs[1]].detach().abs().flatten(1).sum(dim=1)
            kept = mark_largest(strength, 1 - share)
            for name in _same_channels(node, nodes):
                if name in tensors:
                    self.channels[name] = kept

    def _apply_masks(self) -> None:
        tensors = self.network.body.named_tensors()
        with torch.no_grad():
            for name, kept in self.channels.items():
                tensors[name][~kept] = 0


def _same_channels(node: Node, nodes: list[Node]) -> list[str]:
    """The tensors that belong to a convolution's channels: its weight, its bias, and those of its BatchNorm."""
    norms = [other for other in nodes if other.operator == "BatchNormalization" and other.inputs[0] == node.outputs[0]]
    return [*node.inputs[1:], *(name for norm in norms for name in norm.inputs[1:3])]

"""Progressive neural networks (Rusu et al., arXiv 1606.04671, 2016).

Every task gets a column of its own; the columns before are frozen. Their hidden activations join the new column
through adapters, equation 2 of the paper:

    z_i = W_i h_{i-1} + U_i relu(V_i [alpha_1 h_{i-1}^(1); ...; alpha_k h_{i-1}^(k)])

before the activation of layer i. A layer here is all of a network that works at one spatial size; V reduces the
earlier columns' channels to those of one, and V and U are 1 x 1 convolutions, with a stride where the size shrinks.
Columns start from the same weights that all methods start from, adapters' U from zero, as if there were no others.
The task must be known to predict.
"""

import functools
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch.nn import functional as nn

from lightcl_edge.learning.engines.torch_graph import Graph, GraphModule
from lightcl_profiler.baselines.contract import (
    Baseline,
    Batch,
    Build,
    Settings,
    Task,
    add_gradients,
    masked_cross_entropy,
)
from lightcl_profiler.networks.graph_network import GraphNetwork, Stage, split_stages

_ALPHA = 0.1


class Adapter(torch.nn.Module):
    """What earlier columns add to a layer of a new one."""

    def __init__(self, columns: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.alpha = torch.nn.Parameter(torch.full((columns,), _ALPHA))
        self.reduce = torch.nn.Conv2d(columns * channels, channels, 1)
        self.join = torch.nn.Conv2d(channels, outputs, 1, bias=False)
        torch.nn.init.zeros_(self.join.weight)

    def forward(self, hidden: list[torch.Tensor]) -> torch.Tensor:
        """Hidden activations ``(n, channels, h, w)`` of each earlier column -> what to add, ``(n, outputs, h, w)``."""
        # the scale of each column goes into its part of V: the same product, and no scaled copy of an activation
        parts = self.reduce.weight.chunk(len(hidden), dim=1)
        products = [
            nn.conv2d(values, alpha * part) for values, alpha, part in zip(hidden, self.alpha, parts, strict=True)
        ]
        reduced = functools.reduce(torch.add, products)
        bias = self.reduce.bias
        added: torch.Tensor = self.join(nn.relu(reduced if bias is None else reduced + bias[:, None, None]))
        return added


class Column(torch.nn.Module):
    """A network in stages, with adapters between it and earlier columns."""

    def __init__(self, stages: list[Stage], columns: int) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(GraphModule(stage.graph) for stage in stages)
        self._stages = [replace(stage, graph=Graph([], {}, [], stage.graph.outputs)) for stage in stages]
        pairs = list(pairwise(stages)) if columns else []
        self.adapters = torch.nn.ModuleList(
            Adapter(columns, before.channels, stage.channels) for before, stage in pairs
        )

    def forward(self, images: torch.Tensor, earlier: list[list[torch.Tensor]]) -> list[torch.Tensor]:
        """What is before the activation at the end of each stage; the last are the logits ``(n, classes)``."""
        value, found = images, []
        for number, (part, stage) in enumerate(zip(self.parts, self._stages, strict=True)):
            value = part(value)[stage.graph.outputs[0]]
            if number and earlier:
                added = self.adapters[number - 1]([each[number - 1] for each in earlier])
                value = value + (added if value.ndim == 4 else added.flatten(1))
            found.append(value)
        found[-1] = found[-1].flatten(1)
        return found

    def share(self, found: list[torch.Tensor]) -> list[torch.Tensor]:
        """What later columns see of this one: activations at the size of the layer they join.

        A 1 x 1 convolution with a stride looks at these places only; a vector joins by its mean over space.
        """
        shared = []
        for value, before, stage in zip(found, self._stages, self._stages[1:], strict=False):
            hidden = nn.relu(value) if stage.starts_active else value
            if stage.side == 1:
                shared.append(hidden.mean(dim=(2, 3), keepdim=True))
            else:
                stride = max(round(before.side / stage.side), 1)
                shared.append(hidden[:, :, ::stride, ::stride].contiguous())
        return shared


class Pnn(Baseline):
    """A column a task."""

    class_incremental: ClassVar[bool] = False
    needs_graph: ClassVar[bool] = True

    def __init__(self, build: Build, settings: Settings) -> None:
        self._build = build
        self.columns: list[Column] = []
        super().__init__(torch.nn.Module, settings)

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Over the newest column; before the first task there is none."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained or [torch.nn.Parameter(torch.zeros(1))], lr=self.settings.learning_rate)

    def start_network(self) -> torch.nn.Module:
        """A fresh copy of what each column starts from."""
        return self._build()

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return (parameter for column in self.columns for parameter in column.parameters())

    def begin_task(self, task: Task) -> None:
        for column in self.columns:
            column.requires_grad_(False).eval()
        image = next(task.batches(1)).images
        self.columns.append(Column(self._stages(image), len(self.columns)).train().to(image.device))
        self.optimiser = self.make_optimiser()

    def _stages(self, image: torch.Tensor) -> list[Stage]:
        built = self._build()
        if not isinstance(built, GraphNetwork):
            raise AssertionError("progressive networks are built from a graph")
        return split_stages(built, image)

    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        """Cross entropy over the task's own classes: each column has a classifier of its own."""
        logits = self._run(batch.images, task.number)
        return add_gradients(masked_cross_entropy(logits, batch.labels, task.classes)), logits.detach()

    def logits(self, images: torch.Tensor, task: int | None = None) -> torch.Tensor:
        """Logits of the task's column; of the newest when no task is given."""
        number = len(self.columns) - 1 if task is None else task
        self.columns[-1].eval()
        with torch.no_grad():
            found = self._run(images, number)
        self.columns[-1].train()
        return found

    def _run(self, images: torch.Tensor, number: int) -> torch.Tensor:
        """Logits of a column; what the ones before say is computed on the way, without gradients."""
        earlier: list[list[torch.Tensor]] = []
        with torch.no_grad():
            for column in self.columns[:number]:
                earlier.append(column.share(column(images, earlier)))
        logits: torch.Tensor = self.columns[number](images, earlier)[-1]
        return logits

"""The paper's table 1 beside what its formulas give, for ResNet-18 on both data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightcl_host.cost.network import NetworkCount, count_network
from lightcl_host.cost.paper import MEMORY, Setting, memory_bytes, operations

MIB = 2**20
#: Side of the images in pixels, classes, and the setting. Published are operations for CIFAR-10 alone, over 45,000
#: images (the rest is kept for validation) and 50 epochs.
_DATA_SETS = {
    "cifar10": (32, 10, Setting(batch=32, buffer=15, task_classes=2, images=45_000, epochs=50)),
    "tinyimagenet": (64, 200, Setting(batch=32, buffer=15, task_classes=20, images=90_000, epochs=100)),
}
#: MiB in the paper's table.
_PUBLISHED_MEMORY = {
    "cifar10": {
        "sgd": 153.4, "ewc": 196.0, "pnn": 323.9, "fdr": 185.4, "er": 185.4, "derpp": 217.3,
        "sparcl-er": 106.6, "sparcl-derpp": 140.6, "lightcl": 92.8, "lightcl-joint": 92.8, "lightcl-0.9": 25.0,
    },
    "tinyimagenet": {
        "sgd": 357.9, "ewc": 400.5, "pnn": 528.4, "fdr": 485.7, "er": 485.7, "derpp": 613.5,
        "sparcl-er": 407.0, "sparcl-derpp": 536.8, "lightcl": 128.0, "lightcl-joint": 128.0, "lightcl-0.9": 87.1,
    },
}  # fmt: skip
#: 10^15 operations in the paper's table.
_PUBLISHED_OPERATIONS = {"cifar10": {"sgd": 7.5, "er": 11.0, "derpp": 14.5, "lightcl": 5.4, "lightcl-0.9": 2.3}}
_PETA = 1e15


@dataclass(frozen=True)
class PaperRow:
    """One figure.

    Attributes:
        dataset: ``cifar10`` or ``tinyimagenet``.
        method: of :data:`lightcl_host.cost.paper.MEMORY`.
        quantity: ``memory_mib`` or ``peta_operations``.
        calculated: by the formula.
        published: in the paper.
    """

    dataset: str
    method: str
    quantity: str
    calculated: float
    published: float

    @property
    def difference(self) -> float:
        """Relative to the published figure."""
        return self.calculated / self.published - 1

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**vars(self), "difference": self.difference}


def paper_network(dataset: str) -> NetworkCount:
    """ResNet-18 with a 3x3 stem for a data set of :data:`_DATA_SETS`, counted."""
    import torch

    from lightcl_models.resnet18_cifar import load

    side, classes, _ = _DATA_SETS[dataset]
    module: Any = load("none").module
    module.fc = torch.nn.Linear(module.fc.in_features, classes)
    return count_network(module, side, side)


def paper_rows() -> list[PaperRow]:
    """Every figure of the paper that there is a formula for."""
    rows = []
    for dataset, (_, _, setting) in _DATA_SETS.items():
        net = paper_network(dataset)
        for method in MEMORY:
            found = memory_bytes(method, net, setting) / MIB
            rows.append(PaperRow(dataset, method, "memory_mib", found, _PUBLISHED_MEMORY[dataset][method]))
        for method, published in _PUBLISHED_OPERATIONS.get(dataset, {}).items():
            found = operations(method, net, setting) / _PETA
            rows.append(PaperRow(dataset, method, "peta_operations", found, published))
    return rows

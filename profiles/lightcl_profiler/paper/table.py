"""The paper's table 1 beside what its formulas give, for its own network: ResNet-18 on both data sets."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lightcl_profiler.baselines import BASELINES
from lightcl_profiler.paper.memory import PAPER_SPARSITY, NetworkCount, calculated_bytes
from lightcl_profiler.paper.operations import Learning, calculated_operations
from lightcl_profiler.paper.published import BY_DATA, MIB

_PETA = 1e15
_BATCH, _BUFFER = 32, 15
#: The paper counts as many columns of PNN for ten tasks as for five.
_PNN_TASKS = 5
#: Row -> the name of its formula, and of its published figures.
_ROWS = {
    **{name.replace("_", "-"): (name, name) for name in BASELINES if not name.startswith("lightcl")},
    "lightcl": ("lightcl_torch", "lightcl_torch"),
    "lightcl-joint": ("lightcl_joint", "lightcl_torch"),
    "lightcl-0.9": ("lightcl_sparse", "lightcl_sparse"),
}
#: ResNet-18 with a 3x3 stem, trained from layer4 on; a test counts the real network. The reference masks no channel of
#: the stem, which our own sparse LightCL does, so the kept multiply-adds are its own.
NETWORKS = {
    "cifar10": NetworkCount(
        parameters=44_695_848,
        head_parameters=33_595_432,
        convolutions=44_636_928,
        activations=2_228_224,
        head_activations=131_072,
        largest_frozen=262_144,
        multiply_adds=555_422_720,
        head_multiply_adds=134_222_848,
        kept_multiply_adds=297_053_594,
        kept_head_multiply_adds=26_848_666,
        head_convolutions=33_554_432,
    ),
    "tinyimagenet": NetworkCount(
        parameters=45_085_728,
        head_parameters=33_985_312,
        convolutions=44_636_928,
        activations=8_912_896,
        head_activations=524_288,
        largest_frozen=1_048_576,
        multiply_adds=2_221_772_800,
        head_multiply_adds=536_973_312,
        kept_multiply_adds=1_188_296_294,
        kept_head_multiply_adds=107_476_582,
        head_convolutions=33_554_432,
    ),
}
#: A PNN column's classifier has 2 of 10 classes, or 20 of 200: each class has 512 weights and a bias.
_COLUMN_SAVING_BYTES = {"cifar10": 4 * (10 - 2) * 513, "tinyimagenet": 4 * (200 - 20) * 513}
#: The paper publishes operations for CIFAR-10 alone: 45,000 images (the rest is for validation) and 50 epochs.
_LEARNING = Learning((9_000,) * 5, epochs=50, batch=_BATCH, remembered=_BUFFER)


@dataclass(frozen=True)
class PaperRow:
    """One figure; ``quantity`` is ``memory_mib`` or ``peta_operations``."""

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
        return {**asdict(self), "difference": self.difference}


def paper_rows() -> list[PaperRow]:
    """Every figure of the paper that there is a formula for."""
    return [row for dataset in NETWORKS for row in (*_memory(dataset), *_operations(dataset))]


def _memory(dataset: str) -> Iterator[PaperRow]:
    _, published = BY_DATA[dataset]
    for method, (formula, row) in _ROWS.items():
        found = calculated_bytes(
            formula,
            NETWORKS[dataset],
            _BATCH,
            _BUFFER,
            _PNN_TASKS,
            sparcl_sparsity=PAPER_SPARSITY,
            column_saving_bytes=_COLUMN_SAVING_BYTES[dataset],
        )
        memory_mib = published[row].memory_mib
        if found is not None and memory_mib is not None:
            yield PaperRow(dataset, method, "memory_mib", found / MIB, memory_mib)


def _operations(dataset: str) -> Iterator[PaperRow]:
    _, published = BY_DATA[dataset]
    for method, (formula, row) in _ROWS.items():
        found, peta = calculated_operations(formula, NETWORKS[dataset], _LEARNING), published[row].peta_operations
        if found is not None and peta is not None:
            yield PaperRow(dataset, method, "peta_operations", found / _PETA, peta)

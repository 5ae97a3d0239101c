"""The figures of the paper's Table 1 (Wang et al., ASP-DAC 2025), as published. The paper calculates its memory."""

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Published:
    """A row of the table for one data set; None where the paper gives no figure."""

    name: str  # as the paper calls the method
    memory_mib: float | None
    class_incremental: float | None  # accuracy after all tasks, percent
    task_incremental: float | None
    peta_operations: float | None = None  # 10^15 floating-point operations of learning the whole sequence


#: Split CIFAR-10, 5 tasks of 2 classes, ResNet-18, batch 32, buffer 15: our name -> the paper's row.
CIFAR10 = {
    "joint": Published("JOINT", None, 94.67, 99.04),
    "sgd": Published("SGD", 153.4, 34.21, 86.19, 7.5),
    "ewc": Published("EWC", 196.0, 40.42, 89.77),
    "pnn": Published("PNN", 323.9, None, 94.62),
    "fdr": Published("FDR", 185.4, 25.64, 85.54),
    "er": Published("ER", 185.4, 54.44, 92.25, 11.0),
    "derpp": Published("DER++", 217.3, 40.75, 85.68, 14.5),
    "sparcl_er": Published("SparCL-ER", 106.6, 36.98, 85.33),
    "sparcl_derpp": Published("SparCL-DER++", 140.6, 35.58, 85.28),
    "lightcl_torch": Published("LightCL", 92.8, 55.53, 96.28, 5.4),
    "lightcl_sparse": Published("LightCL, sparsity 0.9", 25.0, 38.31, 86.88, 2.3),
    "lightcl": Published("LightCL", 92.8, 55.53, 96.28, 5.4),
}

#: Split TinyImageNet, 10 tasks of 20 classes.
TINYIMAGENET = {
    "joint": Published("JOINT", None, 61.38, 83.14),
    "sgd": Published("SGD", 357.9, 10.63, 34.24),
    "ewc": Published("EWC", 400.5, 11.17, 34.70),
    "pnn": Published("PNN", 528.4, None, 73.94),
    "fdr": Published("FDR", 485.7, 10.80, 34.42),
    "er": Published("ER", 485.7, 11.82, 36.76),
    "derpp": Published("DER++", 613.5, 7.98, 35.88),
    "sparcl_er": Published("SparCL-ER", 407.0, 10.01, 33.01),
    "sparcl_derpp": Published("SparCL-DER++", 536.8, 9.12, 31.86),
    "lightcl_torch": Published("LightCL", 128.0, 12.79, 37.39),
    "lightcl_sparse": Published("LightCL, sparsity 0.9", 87.1, 8.95, 33.94),
    "lightcl": Published("LightCL", 128.0, 12.79, 37.39),
}


#: Name of a data specification -> what the paper calls the data, and its rows.
BY_DATA = {"cifar10": ("Split CIFAR-10", CIFAR10), "tinyimagenet": ("Split TinyImageNet", TINYIMAGENET)}


def published_for(side: int) -> tuple[str, dict[str, Published]]:
    """The paper's name and rows for the data set whose images are nearer in size: 32 or 64 pixels a side."""
    return BY_DATA["tinyimagenet" if side >= 64 else "cifar10"]

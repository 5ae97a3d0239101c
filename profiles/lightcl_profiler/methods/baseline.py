"""The baselines as profiled methods: the whole network of the bundle, in PyTorch, on the job's tasks."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import NoEngineError
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_profiler.baselines import BASELINES
from lightcl_profiler.methods.contract import Job, Method, Outcome, outcome
from lightcl_profiler.networks.torch_device import torch_device

if TYPE_CHECKING:
    import torch

    from lightcl_edge.bundle.manifest import InputInfo
    from lightcl_edge.data.dataset import Dataset
    from lightcl_profiler.baselines.contract import Baseline
    from lightcl_profiler.baselines.learning import Images


class BaselineMethod(Method):
    """Whichever baseline the job names."""

    title: ClassVar[str] = "a whole network trained in PyTorch"

    def describe(self, name: str) -> str:
        entry = BASELINES[name]
        return f"{entry.title} ({entry.paper})"

    def check(self, name: str, bundle: Path) -> None:
        from lightcl_profiler.networks.whole_network import check_builder

        if find_spec("torch") is None:
            raise _needs_torch(name, "it is not installed")
        check_builder(bundle)

    def imports(self, job: Job) -> None:
        """Torch, the baseline, and what builds the network: the model library where the bundle has no graph."""
        try:
            import torch
        except ImportError as error:
            raise _needs_torch(job.method, str(error)) from error

        from lightcl_profiler.baselines import load_baseline
        from lightcl_profiler.networks.whole_network import import_builder

        torch.set_num_threads(job.threads)
        load_baseline(job.method)
        import_builder(Path(job.bundle))

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        import torch

        from lightcl_profiler.baselines import load_baseline
        from lightcl_profiler.baselines.learning import learn_task

        torch.manual_seed(job.seed)
        device = torch_device(job.device)
        kind = load_baseline(job.method)
        with meter.phase("load"):
            images, classes, info = load_tasks(job, device, together=kind.joint)
            self.baseline, origin = _build(job, classes, device)
            calculated = _calculated(job, self.baseline, images[0])
        generator = np.random.default_rng(job.seed)
        loss = 0.0
        for number, task in enumerate(images):
            with meter.phase("train"):
                loss = learn_task(self.baseline, task, number, job.batch_size, generator)
        notes = [origin, f"on {device}", f"{info.height} x {info.width} pixels"]
        found = outcome(sum(len(task.labels) for task in images), loss, notes)
        return replace(found, calculated_bytes=calculated)


def _needs_torch(name: str, reason: str) -> NoEngineError:
    return NoEngineError(
        f"method {name} needs torch ({reason}); pip install 'lightcl-edge[torch]', or use --methods slda,replay"
    )


def _calculated(job: Job, baseline: Baseline, images: Images) -> int | None:
    """Memory by the paper's formula, for a network whose graph is at hand."""
    from lightcl_profiler.networks.graph_network import GraphNetwork
    from lightcl_profiler.paper.counting import count_network
    from lightcl_profiler.paper.memory import calculated_bytes

    network = baseline.start_network()
    if not isinstance(network, GraphNetwork):
        return None
    count = count_network(network, images.batch(np.zeros(1, np.int64)).images)
    return calculated_bytes(job.method, count, job.batch_size, job.buffer_samples, len(job.tasks))


def _build(job: Job, classes: int, device: str) -> tuple[Baseline, str]:
    """The method on its network, and where that came from."""
    from lightcl_profiler.baselines import load_baseline
    from lightcl_profiler.baselines.contract import Settings
    from lightcl_profiler.networks.whole_network import load_whole_network

    origins = []
    kind = load_baseline(job.method)

    def build() -> torch.nn.Module:
        network, origin = load_whole_network(Path(job.bundle), classes, needs_graph=kind.needs_graph)
        origins.append(origin)
        return network.to(device)

    settings = Settings(job.learning_rate, job.buffer_samples, job.epochs, job.seed)
    baseline = kind(build, settings)
    return baseline, origins[0] if origins else "a network from the bundle for each task"


def load_tasks(job: Job, device: str, *, together: bool) -> tuple[list[Images], int, InputInfo]:
    """Each task's images, the number of classes of all, and how images are prepared."""
    from lightcl_edge.bundle.bundle import Bundle
    from lightcl_edge.data.specification import open_dataset
    from lightcl_profiler.baselines.learning import Images

    info = Bundle.open(job.bundle).manifest.input
    datasets = [open_dataset(task) for task in job.tasks]
    classes = list(dict.fromkeys(name for data in datasets for name in data.classes))
    rows = [np.array([classes.index(name) for name in data.classes], np.int64)[data.labels] for data in datasets]
    if together:
        return [Images(np.concatenate(rows), _Loader(datasets, info), device)], len(classes), info
    images = [Images(labels, _Loader([data], info), device) for labels, data in zip(rows, datasets, strict=True)]
    return images, len(classes), info


class _Loader:
    """Decodes images when they are needed, as a PyTorch loader does."""

    def __init__(self, datasets: list[Dataset], info: InputInfo) -> None:
        self._places = [(data, row) for data in datasets for row in range(len(data))]
        self._info = info

    def __call__(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Normalised images ``(k, 3, h, w)``."""
        import torch

        from lightcl_edge.inference.trunk import normalise

        chosen = [self._places[row] for row in rows]
        return torch.from_numpy(normalise(np.stack([data.load(row, self._info) for data, row in chosen]), self._info))

"""SGD, ER, DER++ and EWC against Avalanche: the same batches and weights give the same losses for 20 steps.

Needs the extra ``compare`` (avalanche-lib), which brings dozens of packages along and is therefore in no other extra.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightcl_profiler.baselines.buffer import Remembered
from lightcl_profiler.baselines.contract import Baseline, Batch, Settings, Task
from lightcl_profiler.baselines.derpp import Derpp
from lightcl_profiler.baselines.er import Er
from lightcl_profiler.baselines.ewc import Ewc
from lightcl_profiler.baselines.sgd import Sgd

REASON = "avalanche-lib is not installed; pip install 'lightcl-edge[compare]' to run this comparison"
BATCH, MEMORY, STEPS_A_TASK, CLASSES, RATE = 8, 4, 20, 4, 0.05


@pytest.fixture(scope="module")
def avalanche() -> Any:
    from lightcl_models.torchvision_import import import_torchvision

    import_torchvision()
    pytest.importorskip("avalanche", reason=REASON)
    import avalanche.training.supervised as supervised

    return supervised


def network(norm: bool) -> torch.nn.Module:
    """A small convolutional network; without BatchNorm a forward pass does not depend on how images are grouped."""
    torch.manual_seed(3)
    layers = [torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.BatchNorm2d(6) if norm else torch.nn.Identity()]
    rest = [torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(24, CLASSES)]
    return torch.nn.Sequential(*layers, *rest)


def tasks() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Two tasks of two classes, images and labels."""
    random = np.random.default_rng(5)
    found = []
    for number in range(2):
        labels = np.arange(BATCH * STEPS_A_TASK) % 2 + 2 * number
        pixels = random.normal(0, 1, (len(labels), 3, 8, 8)) + labels[:, None, None, None]
        found.append((torch.from_numpy(pixels.astype(np.float32)), torch.from_numpy(labels)))
    return found


def their_losses(make: Callable[..., Any], norm: bool) -> tuple[list[float], Any, torch.nn.Module]:
    """Train both tasks with Avalanche, in the order of the images; gives the loss of every step."""
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils.classification_dataset import _make_taskaware_classification_dataset
    from avalanche.core import SupervisedPlugin

    losses: list[float] = []

    class Watch(SupervisedPlugin):
        def before_update(self, strategy: Any, **kwargs: Any) -> None:
            losses.append(float(strategy.loss.detach()))

    class Labelled(torch.utils.data.TensorDataset):
        def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
            super().__init__(images, labels)
            self.targets = labels.tolist()

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return self.tensors[0][index], int(self.tensors[1][index])

    model = network(norm)
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    strategy = make(
        model=model,
        optimizer=optimiser,
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=BATCH,
        train_epochs=1,
        device="cpu",
        plugins=[Watch()],
        evaluator=None,
    )
    datasets = [_make_taskaware_classification_dataset(Labelled(*task), task_labels=0) for task in tasks()]
    for experience in benchmark_from_datasets(train=datasets).train_stream:
        torch.manual_seed(11)
        strategy.train(experience, shuffle=False)
    return losses, strategy, model


def our_losses(method: Baseline, fill: Callable[[Baseline, int], None] = lambda method, task: None) -> list[float]:
    """The same with ours; ``fill`` puts the samples that Avalanche remembered into the buffer before a task."""
    losses = []
    for number, (images, labels) in enumerate(tasks()):
        fill(method, number)

        def batches(size: int, images: torch.Tensor = images, labels: torch.Tensor = labels):
            for start in range(0, len(labels), size):
                part = slice(start, start + size)
                yield Batch(images[part], labels[part], np.arange(start, start + len(labels[part])))

        task = Task(number, (2 * number, 2 * number + 1), len(labels), batches)
        method.begin_task(task)
        losses += [method.step(task, batch) for batch in batches(BATCH)]
        method.end_task(task)
    return losses


SETTINGS = Settings(learning_rate=RATE, buffer_samples=MEMORY)


def compare(ours: list[float], theirs: list[float]) -> None:
    assert len(ours) == len(theirs) == 2 * STEPS_A_TASK
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6)
    assert theirs[-1] < theirs[STEPS_A_TASK], "the second task was learned"


def test_sgd(avalanche: Any) -> None:
    theirs, _, _ = their_losses(avalanche.Naive, norm=True)
    compare(our_losses(Sgd(lambda: network(True), SETTINGS)), theirs)


def test_ewc(avalanche: Any) -> None:
    """Their penalty has no factor 1/2, and squares the mean gradient of a batch: strength 2, and batches of theirs."""

    def make(**options: Any) -> Any:
        return avalanche.EWC(ewc_lambda=5.0, mode="online", decay_factor=0.9, **options)

    theirs, _, _ = their_losses(make, norm=True)
    samples = BATCH * STEPS_A_TASK
    method = Ewc(lambda: network(True), SETTINGS, strength=10.0, decay=0.9, fisher_samples=samples, fisher_batch=BATCH)
    compare(our_losses(method), theirs)


class ErOfTheirBuffer(Er):
    """The same memory in every step of the second task: Avalanche fills its own between tasks."""

    def after_update(self, batch: Batch, logits: torch.Tensor) -> None:
        pass


class DerppOfTheirBuffer(Derpp):
    """Likewise; with as many samples drawn as there are, both draws are the whole memory."""

    def after_update(self, batch: Batch, logits: torch.Tensor) -> None:
        pass


def _their_memory(strategy: Any, of_task: int = 0) -> Remembered:
    """The samples of the first task that Avalanche kept for the second."""
    kept = strategy.kept[of_task]
    logits = torch.stack([row[3] for row in kept]) if len(kept[0]) > 3 else None
    labels = torch.tensor([int(row[1]) for row in kept])
    return Remembered(torch.stack([row[0] for row in kept]), labels, logits)


def _keeping(kind: type) -> type:
    """A strategy that notes what its memory held at the end of each task."""

    class Keeping(kind):  # type: ignore[misc, valid-type]
        kept: tuple[Any, ...] = ()

        def _after_training_exp(self, **kwargs: Any) -> None:
            super()._after_training_exp(**kwargs)
            policy = getattr(self, "storage_policy", None) or self.plugins[0].storage_policy
            self.kept = (*self.kept, [policy.buffer[i] for i in range(len(policy.buffer))])

    return Keeping


def _fill_from(strategy: Any) -> Callable[[Baseline, int], None]:
    def fill(method: Baseline, task: int) -> None:
        if task == 1:
            old = _their_memory(strategy)
            method.buffer.offer(old.images, old.labels, old.logits)  # type: ignore[attr-defined]

    return fill


def test_er(avalanche: Any) -> None:
    def make(**options: Any) -> Any:
        from avalanche.training.plugins import ReplayPlugin
        from avalanche.training.templates import SupervisedTemplate

        plugins = [ReplayPlugin(mem_size=MEMORY, batch_size=BATCH, batch_size_mem=MEMORY), *options.pop("plugins")]
        return _keeping(SupervisedTemplate)(plugins=plugins, **options)

    theirs, strategy, _ = their_losses(make, norm=True)
    assert len(strategy.kept[0]) == MEMORY
    compare(our_losses(ErOfTheirBuffer(lambda: network(True), SETTINGS), _fill_from(strategy)), theirs)


def test_derpp(avalanche: Any) -> None:
    """Unset, ``batch_size_mem`` is the batch size, and a memory smaller than that is never replayed.

    They draw once and pass all images together: the same only where no BatchNorm looks at the group.
    """

    def make(**options: Any) -> Any:
        return _keeping(avalanche.DER)(mem_size=MEMORY, batch_size_mem=MEMORY, alpha=0.1, beta=0.5, **options)

    theirs, strategy, _ = their_losses(make, norm=False)
    assert len(strategy.kept[0]) == MEMORY
    method = DerppOfTheirBuffer(lambda: network(False), SETTINGS, alpha=0.1, beta=0.5)
    compare(our_losses(method, _fill_from(strategy)), theirs)


def test_this_file_says_what_it_needs() -> None:
    assert "compare" in (Path(__file__).parents[3] / "pyproject.toml").read_text()

"""The programming interface: an application with its own camera loop learns and predicts through a :class:`Learner`.

See ``docs/api.md`` for a runnable example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightcl_edge.bundle.signature import read_public_key
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.errors import DataError, UsageError
from lightcl_edge.inference.predictor import Evaluation, Predictor
from lightcl_edge.learning.options import TrainOptions
from lightcl_edge.learning.task import train
from lightcl_edge.machine.description import usable_cores
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.machine.memory import PhaseMeter
from lightcl_edge.state.bundle_choice import bundle_for
from lightcl_edge.state.state import State

Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """What an image shows.

    Attributes:
        label: the most probable class.
        probability: of it, 0 to 1.
        probabilities: of every known class.
    """

    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Learned:
    """What a task left.

    Attributes:
        generation: number of the new generation.
        classes: all known classes.
        new_classes: those that the task brought.
        strategy: that learned it.
        holdout_accuracy: of the new head on held-out features of all classes; None while there are none.
        per_class: held-out accuracy of earlier classes before and after, as ``train --json`` gives it.
        seconds: it took.
    """

    generation: int
    classes: list[str]
    new_classes: list[str]
    strategy: str
    holdout_accuracy: float | None
    per_class: dict[str, dict[str, float | int | None]]
    seconds: float


class Learner:
    """Learns tasks and predicts with what it has learned. Use :meth:`open`.

    Everything learned is committed to the state folder before :meth:`learn` returns: a crash loses at most the call
    that was running. One process may learn at a time; others may predict meanwhile and see the new generation at their
    next call.

    Args:
        bundle: path of the bundle; None where the state has its own copy.
        state: folder of what is learned.
        options: how to learn: fields of :class:`lightcl_edge.learning.options.TrainOptions`.
    """

    def __init__(self, bundle: Path | None, state: Path, options: dict[str, object]) -> None:
        self._bundle_path, self._state, self._options = bundle, State(state), options
        key = options.get("key")
        self._bundle, _ = bundle_for(self._state, bundle, read_public_key(key) if isinstance(key, Path) else None)
        self._predictor: Predictor | None = None

    @classmethod
    def open(
        cls,
        bundle: str | Path | None,
        state: str | Path,
        *,
        strategy: str | None = None,
        engine: str = "auto",
        buffer_size: str | int | None = None,
        max_forgetting: float | None = None,
        threads: int | None = None,
        seed: int = 0,
        key: str | Path | None = None,
    ) -> Learner:
        """Open a state, or prepare to make one from a bundle.

        Args:
            bundle: folder or ``.lclb`` file; None where the state exists already.
            state: folder of what is learned; made by the first :meth:`learn`.
            strategy: ``auto``, ``replay``, ``slda``, ``ncm``, ``lightcl`` or ``finetune``; None for the bundle's.
            engine: ``auto``, ``ort`` or ``torch``.
            buffer_size: long-term memory as samples (500) or bytes (``"2MB"``).
            max_forgetting: largest accepted loss of held-out accuracy on earlier classes, 0 to 1.
            threads: processors to use; None for all.
            seed: the same seed, images and order give the same weights.
            key: file of the public key that the bundle must be signed by, now and from now on.

        Returns:
            The learner.

        Raises:
            BundleError: when the bundle is missing or damaged.
            StateError: when the state is damaged or belongs to another bundle.
            UsageError: when an option is out of its range.
        """
        if threads is not None and not 1 <= threads <= usable_cores():
            raise UsageError(f"threads is {threads}; expected 1 to {usable_cores()}, the processors there are")
        options: dict[str, object] = {
            "strategy": strategy,
            "engine": engine,
            "buffer_size": None if buffer_size is None else str(buffer_size),
            "threads": threads,
            "seed": seed,
            "key": None if key is None else Path(key),
        }
        if max_forgetting is not None:
            options["max_forgetting"] = max_forgetting
        return cls(Path(bundle) if bundle is not None else None, Path(state), options)

    @property
    def classes(self) -> list[str]:
        """Names of the classes known now, in the order in which they came."""
        if not self._state.exists():
            return list(self._bundle.manifest.classes)
        return list(self._state.read().meta.classes)

    @property
    def generation(self) -> int:
        """Number of the generation in use; 0 before anything was learned."""
        return self._state.current_number() if self._state.exists() else 0

    def learn(self, images: Images, labels: Sequence[str]) -> Learned:
        """Learn a task: images of new classes, more images of known ones, or both.

        Args:
            images: RGB, uint8, each of shape ``(height, width, 3)``, of any size.
            labels: the class of each.

        Returns:
            What was learned; it is on disk by then.

        Raises:
            RejectedError: when the gate kept the old head; what was known before is unchanged.
            LightclError: of the other kinds in ``docs/exit-codes.md``.
        """
        self._predictor = None  # its memory is needed now
        give_back()
        dataset = ImageList(images, labels)
        options = TrainOptions(self._bundle_path, self._state.folder, dataset, **self._options)  # type: ignore[arg-type]
        document = train(options, PhaseMeter(), Progress(quiet=True))
        return Learned(
            document["generation"],
            document["classes"],
            document["new_classes"],
            document["strategy"],
            document["holdout_accuracy"],
            document["per_class"],
            document["seconds"],
        )

    def learn_one(self, image: NDArray[np.uint8], label: str) -> Learned:
        """Learn from a single image; with the strategies ``slda`` and ``ncm`` that takes no training steps.

        Args:
            image: RGB, uint8, shape ``(height, width, 3)``.
            label: its class.

        Returns:
            As :meth:`learn`.
        """
        return self.learn([image], [label])

    def predict(self, images: Images) -> list[Prediction]:
        """Classify images among the classes known now.

        Args:
            images: RGB, uint8, each of shape ``(height, width, 3)``, of any size.

        Returns:
            One prediction an image; none for none.

        Raises:
            StateError: when nothing was learned yet.
            DataError: when an image is of another type or shape.
        """
        predictor = self._current()
        if not len(images):
            return []
        dataset = ImageList(images, ["?"] * len(images))
        loaded = (dataset.load(index, predictor.input) for index in range(len(dataset)))
        found = predictor.top(loaded, len(predictor.classes))
        every = [{entry["class"]: entry["probability"] for entry in top} for top in found]
        return [Prediction(top[0]["class"], top[0]["probability"], p) for top, p in zip(found, every, strict=True)]

    def evaluate(self, images: Images, labels: Sequence[str]) -> Evaluation:
        """Count how many labelled images are recognised among all known classes.

        Args:
            images: as :meth:`predict` takes them.
            labels: the true class of each.

        Returns:
            Accuracy and confusion counts.

        Raises:
            StateError: when nothing was learned yet.
            DataError: when a class was never learned, or an image is of another type or shape.
        """
        return self._current().evaluate(ImageList(images, labels), Progress(quiet=True))

    def _current(self) -> Predictor:
        """The predictor of the current generation, opened again when there is a newer one."""
        number = self._state.current_number() if self._state.exists() else 0
        if self._predictor is None or self._predictor.generation != number:
            self._predictor = None
            self._predictor = Predictor(self._state.folder, self._options["threads"])  # type: ignore[arg-type]
        return self._predictor


class ImageList(Dataset):
    """Images in memory, of any sizes.

    Args:
        images: RGB, uint8, each of shape ``(height, width, 3)``.
        labels: the class of each.

    Raises:
        DataError: when there are none, or a type, shape or number does not fit.
    """

    def __init__(self, images: Images, labels: Sequence[str]) -> None:
        if isinstance(labels, str):
            raise DataError(f"labels are the text {labels!r}; expected a list with a class name for each image")
        if len(images) != len(labels) or not len(images):
            raise DataError(
                f"found {len(images)} images and {len(labels)} labels, expected a label for each, at least one"
            )
        for place, image in enumerate(images):
            fits = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            if not fits or 0 in image.shape:
                found = (
                    f"{image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
                )
                raise DataError(f"image {place} is {found}; expected RGB, uint8 of shape (height, width, 3)")
        for place, label in enumerate(labels):
            if not isinstance(label, str) or not label:
                raise DataError(f"label {place} is {label!r}; expected a class name")
        self._images = images
        self.classes = sorted(set(labels))
        rows = {name: row for row, name in enumerate(self.classes)}
        self.labels = np.array([rows[label] for label in labels], np.int64)

    def name(self, index: int) -> str:
        """Its place in the list."""
        return f"image {index}"

    def open(self, index: int) -> Image.Image:
        """The array as an image."""
        return Image.fromarray(np.ascontiguousarray(self._images[index]))

    def content(self, index: int) -> bytes:
        """The pixels themselves."""
        pixels: bytes = self._images[index].tobytes()
        return pixels

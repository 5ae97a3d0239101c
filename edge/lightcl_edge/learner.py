"""The programming interface: :class:`Learner` learns and predicts inside an application that has its own camera loop.

``docs/builders/api.md`` has an example that runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from lightcl_edge.bundle.signature import read_public_key
from lightcl_edge.console.progress import Progress, ReportedProgress, Step
from lightcl_edge.data.decoding import ByteImage
from lightcl_edge.data.image_list import ChannelOrder, ImageList, Picture, Pictures, decode_all
from lightcl_edge.errors import DoesNotFitError, InterruptedTaskError, UsageError
from lightcl_edge.inference.evaluation import Evaluation, evaluate
from lightcl_edge.inference.learned_classifier import DEFAULT_FALSE_ALARMS, DEFAULT_UNSURE_BELOW
from lightcl_edge.inference.prediction import Limits, Prediction
from lightcl_edge.inference.predictor import Predictor
from lightcl_edge.learning.forgetting import foresee, forget
from lightcl_edge.learning.gate import DEFAULT_MAX_FORGETTING
from lightcl_edge.learning.kept import Kept
from lightcl_edge.learning.options import TrainOptions
from lightcl_edge.learning.results import Forgotten, Learned
from lightcl_edge.learning.train import train
from lightcl_edge.machine.description import usable_cores
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_edge.state.bundle_choice import bundle_for
from lightcl_edge.state.change import RolledBack, changing, roll_back
from lightcl_edge.state.overview import History, Status, history_of, status_of
from lightcl_edge.state.state import State

__all__ = [
    "Evaluation",
    "Forgotten",
    "History",
    "Learned",
    "Learner",
    "Prediction",
    "RolledBack",
    "Status",
    "Step",
]


class Learner:
    """Learns tasks and predicts with what it has learned. Make one with :meth:`open`.

    What was learned is in the state folder before :meth:`learn` returns: a crash loses at most the running call. One
    process may learn at a time. Others may predict meanwhile, and use the new generation from their next call on.

    Args:
        options: how to learn; each call of :meth:`learn` replaces ``data``.
        channel_order: of the colours in arrays.
    """

    def __init__(self, options: TrainOptions, channel_order: ChannelOrder = "rgb") -> None:
        if channel_order not in ("rgb", "bgr"):
            raise UsageError(f"channel_order is {channel_order!r}; expected 'rgb', or 'bgr' for pictures of OpenCV")
        self._order: ChannelOrder = channel_order
        # once: a process that becomes a daemon changes its working directory
        bundle, key = (None if path is None else path.absolute() for path in (options.bundle, options.key))
        options = replace(options, bundle=bundle, key=key, state=options.state.absolute())
        self._options, self._state = options, State(options.state)
        self._bundle = bundle_for(self._state, bundle, read_public_key(key) if key else None).bundle
        self._predictor: Predictor | None = None
        self._process = os.getpid()  # that opened the predictor
        self._kept = Kept(wanted=True)  # between calls of learn_one

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
        channel_order: ChannelOrder = "rgb",
    ) -> Learner:
        """Open a state, or prepare to make one from a bundle.

        Args:
            bundle: folder or ``.lclb`` file; None when the state exists already.
            state: folder of what was learned; the first :meth:`learn` makes it.
            strategy: ``auto``, ``replay``, ``slda``, ``ncm``, ``lightcl`` or ``finetune``; None for the bundle's.
            engine: ``auto``, ``ort`` or ``torch``.
            buffer_size: of the feature buffer, as samples (500) or bytes (``"2MB"``).
            max_forgetting: largest accepted loss of held-out accuracy on earlier classes, 0 to 1.
            threads: processors to use; None for all.
            seed: the same seed, images and order give the same weights.
            key: file of the public key. The bundle must be signed by it, now and from now on.
            channel_order: ``bgr`` where arrays come from OpenCV.

        Raises:
            BundleError: when the bundle is missing or damaged.
            StateError: when the state is damaged or belongs to another bundle.
            UsageError: when an option is out of its range.
        """
        if threads is not None and not 1 <= threads <= usable_cores():
            raise UsageError(f"threads is {threads}; expected 1 to {usable_cores()}, the processors there are")
        options = TrainOptions(
            bundle=None if bundle is None else Path(bundle),
            state=Path(state),
            data="",
            strategy=strategy,
            engine=engine,
            buffer_size=None if buffer_size is None else str(buffer_size),
            max_forgetting=DEFAULT_MAX_FORGETTING if max_forgetting is None else max_forgetting,
            threads=threads,
            seed=seed,
            key=None if key is None else Path(key),
        )
        return cls(options, channel_order)

    @property
    def classes(self) -> list[str]:
        """Names of the classes known now, in the order in which they came."""
        known = self._state.read().meta.classes if self._state.exists() else self._bundle.manifest.classes
        return list(known)

    @property
    def generation(self) -> int:
        """Number of the generation in use; 0 before anything was learned."""
        return self._state.current_number() if self._state.exists() else 0

    def __enter__(self) -> Learner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the memory that predictions and :meth:`learn_one` hold; the next one takes it again."""
        self._predictor = None
        self._kept.drop()
        give_back()

    def status(self) -> Status:
        """What the state holds. Raises StateError when nothing was learned yet, or it is damaged."""
        return status_of(self._state)

    def history(self) -> History:
        """The generations to which one can go back, and the newest events. Raises StateError as :meth:`status`."""
        return history_of(self._state)

    def rollback(self, generation: int | None = None) -> RolledBack:
        """Use another generation from now on; None is the one that the current one was learned from.

        Raises StateError when there is no such generation, it is damaged, or another process changes the state.
        """
        return roll_back(self._state, generation)

    def forget(self, name: str, *, dry_run: bool = False) -> Forgotten:
        """Erase a class from every generation, for good; with ``dry_run`` only say what would be erased.

        Raises:
            UsageError: when no generation knows the class.
            StateError: when the state is damaged, or another process changes it.
        """
        if dry_run:
            return Forgotten.of(foresee(self._state, name))
        with changing(self._state) as change:
            return Forgotten.of(forget(change, name))

    def learn(
        self, images: Pictures, labels: Iterable[str], *, progress: Callable[[Step], None] | None = None
    ) -> Learned:
        """Learn a task: images of new classes, more images of known ones, or both.

        Args:
            images: of any size, each a Pillow image or an array: grey ``(height, width)``, uint8 or uint16, or colours
                ``(height, width, 3)`` or ``(height, width, 4)``, uint8. All are held in memory meanwhile.
            labels: the class of each image.
            progress: called with each step of the work; what it raises ends the call and leaves the state as it was.

        Returns:
            What was learned; it is on disk by then.

        Raises:
            RejectedError: when the gate kept the old head; what was known before is unchanged.
            KeyboardInterrupt: on Ctrl-C. The same call then goes on where it stopped, unless it had just finished.
            LightclError: of the other kinds in ``docs/reference/exit-codes.md``.
        """
        if self._predictor is not None or self._kept.holds:  # their memory is needed now
            self.close()
        return self._learned(ImageList(images, labels, self._order), progress, None)

    def _learned(self, images: ImageList, progress: Callable[[Step], None] | None, kept: Kept | None) -> Learned:
        options = replace(self._options, data=images)
        try:
            document = train(options, PhaseMeter(), _told(progress), self._state, kept)
        except InterruptedTaskError as error:
            raise KeyboardInterrupt(str(error)) from None
        # its files were checked now; the next call need not check them again
        self._state.keep_open()
        if document["interrupted"]:  # while the generation was written
            raise KeyboardInterrupt(f"interrupted; generation {document['generation']} was learned before")
        return Learned.of(document)

    def learn_one(self, image: Picture, label: str) -> Learned:
        """Learn from one image, as :meth:`learn` does; the strategies ``slda`` and ``ncm`` take no training steps.

        With these two, what the next call begins with stays in memory: the trunk, the head, and what was learned last.
        :meth:`close` gives it back, and so does :meth:`learn`.

        Args:
            image: as :meth:`learn` takes them.
            label: its class.
        """
        self._predictor = None  # its memory is needed now
        kept, images = self._kept, ImageList([image], [label], self._order)
        try:
            try:
                return self._learned(images, None, kept)
            except DoesNotFitError:
                if not kept.holds:
                    raise
                self.close()  # what is kept counts in the plan
                return self._learned(images, None, kept)
        except BaseException:
            kept.drop()
            raise

    def predict(
        self,
        images: Pictures,
        *,
        false_alarms: float = DEFAULT_FALSE_ALARMS,
        unsure_below: float = DEFAULT_UNSURE_BELOW,
    ) -> list[Prediction]:
        """Classify images among the classes known now, and say which were never seen.

        Args:
            images: as :meth:`learn` takes them; those of a generator are taken a few at a time.
            false_alarms: share of images of known classes that may be called unknown by mistake, 0 to 1.
            unsure_below: a prediction is unsure when its probability is below this, 0 to 1.

        Returns:
            One prediction an image.

        Raises:
            StateError: when nothing was learned yet.
            DataError: when an image is of another type or shape.
            UsageError: when a share is not 0 to 1.
        """
        limits, predictor = Limits(false_alarms, unsure_below), self._current()
        return list(predictor.predict(self._decoded(images, predictor), limits))

    def evaluate(
        self,
        images: Pictures,
        labels: Iterable[str],
        *,
        unknown: Pictures = (),
        false_alarms: float = DEFAULT_FALSE_ALARMS,
        progress: Callable[[Step], None] | None = None,
    ) -> Evaluation:
        """Count how many labelled images are recognised among all known classes.

        Args:
            images: as :meth:`predict` takes them.
            labels: the true class of each image.
            unknown: images of classes that were never learned, to see how many are noticed.
            false_alarms: as :meth:`predict` takes it.
            progress: as :meth:`learn` takes it.

        Returns:
            Accuracy and confusion counts, calibration, and how well the unknown is told apart.

        Raises:
            StateError: when nothing was learned yet.
            DataError: when a class was never learned, or an image is of another type or shape.
            UsageError: when ``false_alarms`` is not 0 to 1.
        """
        limits, predictor = Limits(false_alarms), self._current()
        others, dataset = self._decoded(unknown, predictor), ImageList(images, labels, self._order)
        return evaluate(predictor, dataset, _told(progress), limits, others)

    def _current(self) -> Predictor:
        """The predictor of the current generation, opened again when there is a newer one."""
        forked = self._process != os.getpid()
        if self._predictor is None or forked or self._predictor.generation != self.generation:
            self._predictor, self._process = None, os.getpid()
            self._predictor = Predictor(self._state.folder, self._options.threads)
        return self._predictor

    def _decoded(self, images: Pictures, predictor: Predictor) -> Iterator[ByteImage]:
        return decode_all(images, predictor.input, predictor.grey_range, self._order)


def _told(report: Callable[[Step], None] | None) -> Progress:
    return Progress(quiet=True) if report is None else ReportedProgress(report)

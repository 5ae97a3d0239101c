"""Everything behind the page, without the network: camera, predictions, what was taught, and learning."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import asdict
from typing import Any

from lightcl_edge import __version__
from lightcl_edge.errors import DataError, LightclError
from lightcl_edge.files.durable import make_folders
from lightcl_edge.serve.hub import Hub
from lightcl_edge.serve.knowledge import knowledge as knowledge_of
from lightcl_edge.serve.options import ServeOptions
from lightcl_edge.serve.recogniser import Recogniser
from lightcl_edge.serve.records import (
    Against,
    Answer,
    Contradictions,
    Knowledge,
    Learning,
    Live,
    Moved,
    Prediction,
    Settings,
    SourceState,
    Status,
)
from lightcl_edge.serve.settings import read_settings, write_settings
from lightcl_edge.serve.sources.contract import Frame, Source
from lightcl_edge.serve.taught import TaughtPictures
from lightcl_edge.serve.trainer import Trainer, TrainerOptions
from lightcl_edge.state.bundle_choice import bundle_for
from lightcl_edge.state.state import State

#: Predictions a second are counted over this time.
_COUNTED_SECONDS = 5.0
#: The least time between two answers that pages are told.
_SECONDS_BETWEEN_EVENTS = 0.04
#: A taught picture speaks against its label when another class has at least this probability.
_SURE = 0.9
_MOST_AGAINST = 60


class Service:
    """Runs until it is closed; any thread may call any method."""

    def __init__(self, options: ServeOptions, source: Source) -> None:
        self.options, self.source, self.hub = options, source, Hub()
        self.state = State(options.state)
        make_folders(options.folder)
        self.manifest = bundle_for(self.state, options.bundle).bundle.manifest
        self.settings = read_settings(options.folder)
        self.recogniser = Recogniser(options.state, options.threads)
        self.taught = TaughtPictures(options.folder / "spool")
        trainer = TrainerOptions(options.state, options.bundle, options.keep_frames, options.train_arguments)
        self.trainer = Trainer(trainer, self.taught, options.folder, self._tell_learning)
        self.live: Live | None = None
        self._knowledge: Knowledge | None = None
        self._knowledge_lock = threading.Lock()
        self.started = time.monotonic()
        self._moments: deque[float] = deque(maxlen=512)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="predictions", daemon=True)

    def start(self) -> None:
        """Begin to predict, and go on with a task that was cut short."""
        self._thread.start()
        self.trainer.resume()

    def close(self) -> None:
        """End everything; a task that is being learned keeps its checkpoint."""
        self._closing.set()
        self.trainer.close()
        self.source.close()
        self._thread.join()

    def change_settings(self, settings: Settings) -> None:
        """Keep new settings and use them from the next frame on."""
        write_settings(self.options.folder, settings)
        self.settings = settings
        self.hub.publish("settings", asdict(settings))

    def predictions_per_second(self) -> float:
        """Of the last seconds."""
        since = time.monotonic() - _COUNTED_SECONDS
        recent = [moment for moment in list(self._moments) if moment >= since]
        if len(recent) < 2:
            return 0.0
        return round((len(recent) - 1) / max(1e-6, recent[-1] - recent[0]), 1)

    def status(self) -> Status:
        """Everything that a page shows first."""
        classes = self.classes()
        found = self.source.status()
        return Status(
            version=__version__,
            generation=self.state.current_number() if self.state.exists() else 0,
            classes=classes,
            capacity=self.manifest.head.capacity,
            model=self.manifest.model.name,
            source=SourceState(found.kind, found.working, found.message, round(found.frames_per_second, 1)),
            predictions_per_second=self.predictions_per_second(),
            taught=self.taught.counts(),
            queue=0,
            learning=self.trainer.learning,
            live=self.live,
            settings=self.settings,
            problem=self.recogniser.problem,
        )

    def classes(self) -> list[str]:
        """Names of the classes that are known now."""
        return list(self.state.read().meta.classes if self.state.exists() else self.manifest.classes)

    def knowledge(self) -> Knowledge:
        """What the generation in use knows; computed once for each generation."""
        number = self.state.current_number() if self.state.exists() else 0
        with self._knowledge_lock:
            if self._knowledge is None or self._knowledge.generation != number:
                self._knowledge = knowledge_of(self.state, self.manifest, self.recogniser)
            return self._knowledge

    def contradictions(self) -> Contradictions:
        """Taught pictures of known classes that the present knowledge surely calls something else."""
        found, known = [], set(self.classes())
        for each in self.taught.listed().pictures:
            picture = self.taught.read(each.id) if each.class_name in known else None
            prediction = None if picture is None else self.recogniser.predict(picture)
            best = None if prediction is None else prediction.top[0]
            if best is not None and best.class_name != each.class_name and best.probability >= _SURE:
                found.append(Against(each.id, each.class_name, best.class_name, best.probability))
        return Contradictions(sorted(found, key=lambda against: -against.probability)[:_MOST_AGAINST])

    def rename(self, class_name: str, new: str) -> Moved:
        """Give a class another name. Raises LightclError."""
        document = self.trainer.change("rename", f"--class={class_name}", f"--to={new}")
        self.taught.rename(class_name, new)
        return self._moved(document)

    def forget(self, class_name: str) -> Moved:
        """Erase a class and its pictures. Raises LightclError."""
        document = self.trainer.change("forget", f"--class={class_name}")
        self.taught.erase(class_name)
        return self._moved(document)

    def roll_back(self, number: int) -> Moved:
        """Use another generation. Raises LightclError."""
        return self._moved(self.trainer.change("rollback", f"--to={number}"))

    def _moved(self, document: dict[str, Any]) -> Moved:
        moved = Moved(int(document["generation"]), list(document["classes"]))
        self.tell_taught()
        self.hub.publish("generation", {"generation": moved.generation})
        return moved

    def tell_taught(self) -> None:
        """Pages learn how many pictures wait to be learned."""
        self.hub.publish("taught", self.taught.counts())

    def _tell_learning(self, learning: Learning) -> None:
        self.hub.publish("learning", asdict(learning))
        if not learning.running:
            self.tell_taught()
            self.hub.publish("generation", {"generation": self.state.current_number() if self.state.exists() else 0})

    def _watch(self) -> None:
        number, told = 0, 0.0
        while not self._closing.is_set():
            frame = self.source.wait_newer(number, 0.5)
            if frame is None:
                continue
            number = frame.number
            self.hub.frame_came()
            try:
                prediction = self.recogniser.predict(frame.jpeg, self.settings.region, "the frame")
            except (DataError, LightclError, OSError) as error:
                self.recogniser.problem = str(error)
                continue
            self._moments.append(time.monotonic())
            self.live = self._answer(frame, prediction)
            if (now := time.monotonic()) - told >= _SECONDS_BETWEEN_EVENTS:
                told = now
                self.hub.publish("live", asdict(self.live))

    def _answer(self, frame: Frame, prediction: Prediction | None) -> Live:
        if prediction is None:
            answer = Answer(None, 0.0, "nothing learned")
        else:
            best = prediction.top[0]
            kind = "never seen" if prediction.unknown else "sure" if best.probability >= 0.8 else "unsure"
            answer = Answer(best.class_name, best.probability, kind)
        return Live(frame.number, frame.taken_at, answer, prediction, self.predictions_per_second())

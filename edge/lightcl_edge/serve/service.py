"""Everything behind the page, without the network: camera, predictions, what was taught, and learning."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lightcl_edge import __version__
from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.errors import LightclError
from lightcl_edge.files.durable import make_folders
from lightcl_edge.inference.evaluation import Evaluation
from lightcl_edge.serve.hub import Hub
from lightcl_edge.serve.knowledge import judged
from lightcl_edge.serve.knowledge import knowledge as knowledge_of
from lightcl_edge.serve.options import ServeOptions
from lightcl_edge.serve.records.knowing import Knowledge, Moved
from lightcl_edge.serve.records.learning import Learning, LearnWish
from lightcl_edge.serve.records.machine import BrokerState, SourceState, Status
from lightcl_edge.serve.records.teaching import Against, Contradictions
from lightcl_edge.serve.records.watching import Settings
from lightcl_edge.serve.settings import read_settings, write_settings
from lightcl_edge.serve.sources.contract import Source
from lightcl_edge.serve.teaching.taught import TaughtPictures
from lightcl_edge.serve.teaching.trainer import Trainer, TrainerOptions
from lightcl_edge.serve.watching.recogniser import Recogniser
from lightcl_edge.serve.watching.viewer import Viewer
from lightcl_edge.serve.watching.waiting import WaitingFrames
from lightcl_edge.state.bundle_choice import bundle_for
from lightcl_edge.state.state import State

if TYPE_CHECKING:
    from lightcl_edge.serve.mqtt.link import MqttLink
    from lightcl_edge.serve.mqtt.options import MqttOptions

#: Of a camera's frames that could wait for a label, one is looked at in this time.
_SECONDS_BETWEEN_WAITING = 1.0
#: A taught picture speaks against its label when another class has at least this probability.
_SURE = 0.9
_MOST_AGAINST = 60


class Service:
    """Runs until it is closed; any thread may call any method."""

    def __init__(self, options: ServeOptions, source: Source) -> None:
        self.options, self.source, self.hub = options, source, Hub()
        self.state = State(options.state)
        make_folders(options.folder)
        self._manifest = bundle_for(self.state, options.bundle).bundle.manifest
        self.settings = read_settings(options.folder)
        self.recogniser = Recogniser(options.state, options.predicting_threads)
        self.taught = TaughtPictures(options.folder / "spool")
        trainer = TrainerOptions(options.state, options.bundle, options.keep_frames, options.train_arguments)
        self.trainer = Trainer(trainer, self.taught, options.folder, self._tell_learning)
        pause = 0.0 if source.kind == "none" else _SECONDS_BETWEEN_WAITING
        self.waiting = WaitingFrames(options.queue_bytes, options.keep_waiting, pause)
        self.viewer = Viewer(source, self.recogniser, self.waiting, self.hub, self.settings)
        self._judged: tuple[int, Evaluation | None] | None = None  # with the generation that it is of
        self._evaluation_part: tuple[int, str] | None = None
        self._knowledge_lock = threading.Lock()
        self.started = time.monotonic()
        self._link = None if options.mqtt is None else self._link_to(options.mqtt)

    def start(self) -> None:
        """Begin to predict, and go on with a task that was cut short."""
        self.viewer.start()
        self.trainer.resume()

    def close(self) -> None:
        """End everything; a task that is being learned keeps its checkpoint."""
        if self._link is not None:
            self._link.close()
        self.trainer.close()
        self.source.close()
        self.viewer.close()

    def _link_to(self, options: MqttOptions) -> MqttLink:
        from lightcl_edge.serve.mqtt.link import MqttLink

        link = MqttLink(options, self.options.board_name, self._learn_by_button)
        self.viewer.listeners.append(lambda live, frame: link.publish(live.answer, frame.jpeg))
        return link

    def _learn_by_button(self) -> None:
        with suppress(LightclError, OSError):  # nothing to learn, or a task is running: the page says so
            self.trainer.start(LearnWish())

    @property
    def manifest(self) -> Manifest:
        """Of the bundle in use, which an update replaces while the server runs."""
        with suppress(LightclError):
            if self.state.exists():
                self.state.keep_open()
                self._manifest = self.state.own_bundle().manifest
        return self._manifest

    def change_settings(self, settings: Settings) -> None:
        """Keep new settings and use them from the next frame on."""
        write_settings(self.options.folder, settings)
        self.settings = self.viewer.settings = settings
        self.hub.publish("settings", asdict(settings))

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
            predictions_per_second=self.viewer.predictions_per_second(),
            taught=self.taught.counts(),
            queue=len(self.waiting),
            learning=self.trainer.learning,
            live=self.viewer.live,
            settings=self.settings,
            problem=self.viewer.problem or self.recogniser.problem,
            mqtt=None if self._link is None else BrokerState(self._link.connected, self._link.message),
        )

    def classes(self) -> list[str]:
        """Names of the classes that are known now."""
        return list(self.state.read().meta.classes if self.state.exists() else self.manifest.classes)

    def knowledge(self) -> Knowledge:
        """What the generation in use knows."""
        with self._knowledge_lock:
            return knowledge_of(self.state, self.manifest, self._evaluation()[1])

    def evaluation_part(self) -> str:
        """How well it is known, as HTML for the page; empty before anything can be judged."""
        from lightcl_edge.serve.evaluation_part import evaluation_part

        with self._knowledge_lock:
            number, found = self._evaluation()
            if self._evaluation_part is None or self._evaluation_part[0] != number:
                spool = self.taught.spool.folder
                text = "" if found is None else evaluation_part(found, number, self.recogniser, spool)
                self._evaluation_part = (number, text)
            return self._evaluation_part[1]

    def _evaluation(self) -> tuple[int, Evaluation | None]:
        """Of the held-out features, once for each generation."""
        number = self.state.current_number() if self.state.exists() else 0
        if self._judged is None or self._judged[0] != number:
            self._judged = (number, judged(self.state, self.manifest, self.recogniser))
        return self._judged

    def contradictions(self) -> Contradictions:
        """Taught pictures that the present knowledge surely calls something else, and not never seen."""
        found = []
        for each in self.taught.listed().pictures:
            picture = self.taught.read(each.id)
            prediction = None if picture is None else self.recogniser.predict(picture)
            if prediction is None or prediction.unknown:
                continue
            best = prediction.top[0]
            if best.class_name != each.class_name and best.probability >= _SURE:
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
        self._tell_generation(moved.generation)
        return moved

    def tell_taught(self) -> None:
        """Pages learn how many pictures wait to be learned."""
        self.hub.publish("taught", self.taught.counts())

    def _tell_learning(self, learning: Learning) -> None:
        self.viewer.learning = learning.running
        self.hub.publish("learning", asdict(learning))
        if not learning.running or learning.phase == "start":
            self.tell_taught()
        if not learning.running:
            self._tell_generation(self.state.current_number() if self.state.exists() else 0)

    def _tell_generation(self, number: int) -> None:
        self.hub.publish("generation", {"generation": number})
        if self._link is not None:
            self._link.refresh()

    def label_waiting(self, ids: list[str], class_name: str) -> int:
        """Teach frames that wait; they wait no longer once they are on the disk as taught. Gives how many."""
        done = 0
        try:
            for frame, jpeg in self.waiting.take(ids):
                self.taught.add(class_name, jpeg, self.settings.region)
                done += self.waiting.drop([frame.id])
        finally:  # a full disk may have stopped it half-way
            self.tell_taught()
            self.viewer.tell_queue()
        return done

    def drop_waiting(self, ids: list[str]) -> int:
        """Let frames go; gives how many there were."""
        done = self.waiting.drop(ids)
        self.viewer.tell_queue()
        return done

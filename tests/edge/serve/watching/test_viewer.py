"""The camera's viewer, without a server."""

import itertools
import time
import weakref

from lightcl_edge.data.region import Region
from lightcl_edge.errors import BundleError
from lightcl_edge.inference.predictor import Predictor
from lightcl_edge.serve.hub import Hub
from lightcl_edge.serve.records.watching import Settings
from lightcl_edge.serve.sources.contract import Frame, Source, SourceStatus
from lightcl_edge.serve.watching.recogniser import Recogniser
from lightcl_edge.serve.watching.viewer import Viewer
from lightcl_edge.serve.watching.waiting import WaitingFrames
from pictures import jpeg
from small_bundle import make_bundle, make_folder


class Endless(Source):
    kind = "video"

    def __init__(self, pictures=None, pause=0.005):
        super().__init__()
        self._pause = pause
        self._numbers, self._pictures = itertools.count(1), pictures or [jpeg(1)]

    def status(self):
        return SourceStatus(self.kind, True, "", 0.0)

    def wait_newer(self, number, timeout):
        time.sleep(self._pause)
        number = next(self._numbers)
        self._frame = Frame(number, time.time(), self._pictures[number % len(self._pictures)])
        return self._frame


def test_while_a_task_is_learned_only_a_few_frames_are_looked_at(tmp_path):
    viewer = Viewer(Endless(), Recogniser(tmp_path / "none"), WaitingFrames(2**20, None, 0.0), Hub(), Settings())
    viewer.learning, seen = True, []
    viewer.listeners.append(lambda live, _: seen.append(live.frame))
    viewer.start()
    time.sleep(1.0)
    few, viewer.learning = len(seen), False
    until = time.monotonic() + 20
    while len(seen) < few + 50 and time.monotonic() < until:
        time.sleep(0.02)
    viewer.close()
    assert 1 <= few <= 6
    assert len(seen) >= few + 50


def test_frames_get_each_its_own_answer_also_when_another_bundle_comes_between(tmp_path, edge):
    """What one trunk made never reaches another's head: each answer is the old or the new one of its frame."""
    folder = make_folder(tmp_path / "data", ["green", "red"], 12)
    for number in (1, 2):
        bundle, state = make_bundle(tmp_path / f"bundle{number}", seed=number), tmp_path / f"state{number}"
        edge("train", "--bundle", bundle, "--data", folder, "--state", state)
    pictures = [jpeg(seed, 32, 32) for seed in range(7)]
    old, new = ([top(Recogniser(tmp_path / f"state{n}", 1).predict(each)) for each in pictures] for n in (1, 2))
    assert len({*old, *new}) == 2 * len(pictures)
    recogniser, found = Recogniser(tmp_path / "state1", 1), {}
    viewer = Viewer(Endless(pictures, 0.0), recogniser, WaitingFrames(2**20, None, 0.0), Hub(), Settings())
    viewer.listeners.append(lambda live, _: found.setdefault(live.frame, live.prediction))
    viewer.start()

    def wait_for(more):
        wanted, until = len(found) + more, time.monotonic() + 20
        while len(found) < wanted and time.monotonic() < until:
            time.sleep(0.001)
        assert len(found) >= wanted

    wait_for(10)
    replaced = weakref.ref(recogniser._predictor)
    recogniser._predictor = None
    wait_for(10)
    assert replaced() is None  # no frame under way keeps the old trunk
    predictors = [Predictor(tmp_path / f"state{number}", 1) for number in (1, 2)]
    for turn in range(30):
        recogniser._predictor = predictors[turn % 2]
        wait_for(7)
    viewer.close()
    assert list(found) == sorted(found)
    answers = [(top(prediction), frame % len(pictures)) for frame, prediction in found.items() if prediction]
    assert len(answers) >= 200
    assert all(answer in (old[at], new[at]) for answer, at in answers)


def top(prediction):
    """The first class and its probability, to six digits."""
    return prediction.top[0].class_name, round(prediction.top[0].probability, 6)


class Slow:
    """A recogniser whose stages take a while; it counts how many run at once, and fails once in the trunk."""

    def __init__(self):
        self.running, self.most, self.regions, self.failures = 0, 0, [], 0

    def _work(self, result):
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(0.02)
        self.running -= 1
        return result

    def pixels(self, picture, region, name):
        return self._work((region,))

    def prepare(self, pixels):
        if not self.failures:
            self.failures += 1
            raise BundleError("trunk.onnx is damaged")
        return self._work(pixels)

    def see(self, picture, region, name, prepared):
        self.regions.append((region, prepared and prepared[0]))
        return self._work(None)


def test_three_frames_are_worked_on_at_once_and_no_answer_is_of_a_region_that_has_changed(tmp_path):
    slow, seen = Slow(), []
    viewer = Viewer(Endless(), slow, WaitingFrames(2**20, None, 0.0), Hub(), Settings())
    viewer.listeners.append(lambda live, _: seen.append(live.frame))
    viewer.start()
    until = time.monotonic() + 20
    while len(seen) < 20 and time.monotonic() < until:
        time.sleep(0.01)
    viewer.settings = Settings(region=Region(0.25, 0.25, 0.5, 0.5))
    while len(seen) < 40 and time.monotonic() < until:
        time.sleep(0.01)
    viewer.close()
    assert len(seen) >= 40 and slow.most == 3
    assert slow.regions[0] == (None, None)  # whose trunk failed: the frame is tried again as a whole
    assert all(prepared in (None, region) for region, prepared in slow.regions)
    assert slow.regions[-1] == (viewer.settings.region, viewer.settings.region)

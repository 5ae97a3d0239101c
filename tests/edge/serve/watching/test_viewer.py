"""The camera's viewer, without a server."""

import itertools
import time

import numpy as np

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

    def __init__(self, pictures=None):
        super().__init__()
        self._numbers, self._pictures = itertools.count(1), pictures or [jpeg(1)]

    def status(self):
        return SourceStatus(self.kind, True, "", 0.0)

    def wait_newer(self, number, timeout):
        time.sleep(0.005)
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


def test_three_frames_at_once_get_each_its_own_answer_also_of_a_new_predictor(tmp_path, edge):
    state, folder = tmp_path / "state", make_folder(tmp_path / "data", ["green", "red"], 12)
    edge("train", "--bundle", make_bundle(tmp_path / "bundle"), "--data", folder, "--state", state)
    pictures = [jpeg(seed, 32, 32) for seed in range(7)]
    recogniser = Recogniser(state, 1)
    expected = [recogniser.predict(each).top for each in pictures]
    assert len({each[0].probability for each in expected}) == len(pictures)
    found = {}
    viewer = Viewer(Endless(pictures), recogniser, WaitingFrames(2**20, None, 0.0), Hub(), Settings())
    viewer.listeners.append(lambda live, _: found.setdefault(live.frame, live.prediction))
    viewer.start()
    until = time.monotonic() + 20
    while len(found) < 30 and time.monotonic() < until:
        time.sleep(0.01)
    recogniser._predictor = Predictor(state, 1)  # as after a new bundle: what its predecessor's trunk made is left
    while len(found) < 60 and time.monotonic() < until:
        time.sleep(0.01)
    viewer.close()
    assert len(found) >= 60 and list(found) == sorted(found)
    for frame, prediction in found.items():
        wanted = expected[frame % len(pictures)]
        assert [each.class_name for each in prediction.top] == [each.class_name for each in wanted]
        np.testing.assert_allclose(
            [each.probability for each in prediction.top], [each.probability for each in wanted], atol=1e-6
        )

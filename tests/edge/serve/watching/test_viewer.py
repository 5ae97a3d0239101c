"""The camera's viewer, without a server."""

import itertools
import time

from lightcl_edge.serve.hub import Hub
from lightcl_edge.serve.records.watching import Settings
from lightcl_edge.serve.sources.contract import Frame, Source, SourceStatus
from lightcl_edge.serve.watching.recogniser import Recogniser
from lightcl_edge.serve.watching.viewer import Viewer
from lightcl_edge.serve.watching.waiting import WaitingFrames
from pictures import jpeg


class Endless(Source):
    kind = "video"

    def __init__(self):
        super().__init__()
        self._numbers, self._picture = itertools.count(1), jpeg(1)

    def status(self):
        return SourceStatus(self.kind, True, "", 0.0)

    def wait_newer(self, number, timeout):
        time.sleep(0.005)
        self._frame = Frame(next(self._numbers), time.time(), self._picture)
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

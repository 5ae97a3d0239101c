"""Frames that wait for a label: bounded, without near-duplicates, and still there after a kill."""

import errno
import io
import random
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightcl_edge.errors import DataError, StorageError
from lightcl_edge.files.durable import Calls, calls_through
from lightcl_edge.serve.watching.waiting import NEAR_DUPLICATE, WaitingFrames, reason_to_wait
from pictures import jpeg, size_of

ROOM = 10**6
FRAME = jpeg()


def axis(number, size=16):
    """A direction of its own for each number."""
    return np.eye(size, dtype=np.float32)[number]


@pytest.fixture(params=["memory", "folder"])
def place(request, tmp_path):
    return tmp_path / "waiting" if request.param == "folder" else None


def test_frames_come_back_with_all_that_is_known_the_newest_first(place):
    waiting = WaitingFrames(ROOM, place)
    first = waiting.offer(jpeg(1), 10.0, "unsure", "café", 0.4, axis(0))
    second = waiting.offer(jpeg(2), 20.0, "never seen", features=axis(1))
    found = [(each.id, each.taken_at, each.reason, each.class_name, each.probability) for each in waiting.items()]
    assert found == [(second, 20.0, "never seen", "", 0.0), (first, 10.0, "unsure", "café", 0.4)]
    assert waiting.get(first) == jpeg(1)
    assert [picture for _, picture in waiting.take([second, "gone", first])] == [jpeg(2), jpeg(1)]
    assert waiting.used_bytes > len(jpeg(1)) + len(jpeg(2))
    assert waiting.drop([first, first, "gone"]) == 1
    assert waiting.get(first) is None
    assert len(waiting) == 1
    if place:
        assert [each.id for each in WaitingFrames(ROOM, place).items()] == [second]


def test_nearly_the_same_is_not_taken_in_and_the_first_stays(place):
    waiting = WaitingFrames(ROOM, place)
    kept = waiting.offer(jpeg(1), 10, "unsure", features=axis(0))
    near = axis(0) + 0.1 * axis(1)
    assert waiting.offer(jpeg(2), 20, "unsure", features=5 * near) is None
    assert waiting.offer(jpeg(2), 30, "unsure", features=axis(0) + axis(1))
    assert waiting.get(kept) == jpeg(1)
    waiting.drop([kept])
    assert waiting.offer(jpeg(2), 40, "unsure", features=near) is not None


def scene(left, noise):
    """A bright thing in a dark room, seen by a camera that is noisy."""
    pixels = np.full((48, 64, 3), 60) + np.random.default_rng(noise).integers(-10, 11, (48, 64, 3))
    pixels[15:35, left : left + 16] += 130
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "JPEG")
    return out.getvalue()


def test_without_features_pictures_are_compared(place):
    waiting = WaitingFrames(ROOM, place)
    assert waiting.offer(scene(10, noise=1), 10, "unsure")
    assert waiting.offer(scene(10, noise=2), 20, "unsure") is None
    assert waiting.offer(scene(30, noise=3), 30, "unsure")
    with pytest.raises(DataError):
        waiting.offer(b"no picture", 40, "unsure")


def test_frames_in_quick_succession_are_not_looked_at():
    waiting = WaitingFrames(ROOM, pause_seconds=1)
    taken = [waiting.offer(FRAME, at / 10, "unsure", features=axis(at)) is not None for at in range(12)]
    assert [at for at, kept in enumerate(taken) if kept] == [0, 10]
    assert waiting.offer(FRAME, 0.5, "unsure", features=axis(12))  # the clock was set back


numbers = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 3000)), max_size=30)


@given(numbers, st.integers(3000, 12_000))
def test_the_space_is_bounded_and_the_oldest_go_first(offers, limit):
    waiting, model = WaitingFrames(limit, pause_seconds=0), []
    for number, extra in offers:
        id = waiting.offer(FRAME + bytes(extra), 0.0, "unsure", features=axis(number))
        if number in [known for _, known in model]:
            assert id is None
        if id is not None:
            model.append((id, number))
        left = [each.id for each in reversed(waiting.items())]
        model = model[len(model) - len(left) :]
        assert left == [known for known, _ in model]
        assert waiting.used_bytes <= limit
        assert waiting.used_bytes >= len(FRAME) * len(waiting)


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), max_size=15))
def test_no_two_frames_that_wait_are_near_duplicates(vectors):
    waiting = WaitingFrames(ROOM, pause_seconds=0)
    for vector in vectors:
        waiting.offer(FRAME, 0.0, "unsure", features=np.array(vector, np.float32))
    directions = [each.direction for each in waiting.items()]
    for at, one in enumerate(directions):
        assert all(float(one @ other) < NEAR_DUPLICATE for other in directions[:at])
        assert np.isfinite(one).all()


def test_a_folder_is_taken_over_within_the_space_without_what_is_damaged(tmp_path):
    waiting = WaitingFrames(ROOM, tmp_path, pause_seconds=0)
    ids = [waiting.offer(jpeg(at), float(at), "unsure", features=axis(at)) for at in range(6)]
    damaged = tmp_path / f"{ids[2]}.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-5])
    (tmp_path / f"{ids[3]}.new").write_bytes(b"half")
    (tmp_path / "mine.safetensors").write_bytes(b"of somebody else")
    again = WaitingFrames(ROOM, tmp_path)
    assert [each.id for each in again.items()] == [ids[at] for at in (5, 4, 3, 1, 0)]
    assert again.offer(jpeg(9), 99, "unsure", features=axis(4)) is None
    small = WaitingFrames(again.used_bytes // 2, tmp_path)
    assert [each.id for each in small.items()] == [ids[5], ids[4]]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"{ids[4]}.safetensors", f"{ids[5]}.safetensors", "mine.safetensors"]
    )


@pytest.mark.parametrize("cut", range(0, 2000, 97))
def test_any_damage_to_a_file_is_survived(tmp_path, cut):
    waiting = WaitingFrames(ROOM, tmp_path)
    path = tmp_path / f"{waiting.offer(FRAME, 1.0, 'unsure', 'cat', 0.5, axis(0))}.safetensors"
    data = bytearray(path.read_bytes())
    data[cut % len(data)] ^= 0xFF
    path.write_bytes(data)
    for each in WaitingFrames(ROOM, tmp_path).items():
        assert 0 <= each.probability <= 1
        assert each.reason in ("unsure", "never seen", "near a change")


class FullDisk(Calls):
    def write(self, handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_and_what_waits_stays(tmp_path):
    waiting = WaitingFrames(ROOM, tmp_path)
    kept = waiting.offer(FRAME, 1.0, "unsure", features=axis(0))
    with calls_through(FullDisk()), pytest.raises(StorageError, match="No space left on device"):
        waiting.offer(FRAME, 9.0, "unsure", features=axis(1))
    assert [path.name for path in tmp_path.iterdir()] == [f"{kept}.safetensors"]
    assert waiting.offer(FRAME, 10.0, "unsure", features=axis(1))


CHILD = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[2])
from PIL import Image
from pictures import jpeg
from lightcl_edge.serve.watching.waiting import WaitingFrames
waiting = WaitingFrames(10**7, Path(sys.argv[1]), pause_seconds=0)
random = np.random.default_rng(int(sys.argv[3]))
while True:
    id = waiting.offer(jpeg(1), 0.0, "unsure", "cat", 0.5, random.standard_normal(64).astype(np.float32))
    print(id, flush=True)
"""


def test_frames_survive_kill_minus_nine(tmp_path, request):
    support = str(request.config.rootpath / "tests" / "support")
    told = []
    for kill in range(4):
        arguments = [sys.executable, "-c", CHILD, str(tmp_path), support, str(kill)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            told.append(child.stdout.readline().strip())
            timer = threading.Timer(random.random() * 0.3, child.send_signal, (signal.SIGKILL,))
            timer.start()
            told += [line.strip() for line in child.stdout if line.endswith("\n")]
            timer.join()
        waiting = WaitingFrames(10**7, tmp_path)
        present = {each.id for each in waiting.items()}
        assert set(told) <= present
        assert all(size_of(waiting.get(id)) == (24, 16) for id in present)
        assert not list(tmp_path.glob("*.new"))
    assert len(told) > 4


def test_many_threads_use_it_at_once(place):
    waiting = WaitingFrames(40_000, place, pause_seconds=0)

    def work(seed):
        random = np.random.default_rng(seed)
        for _ in range(20):
            waiting.offer(FRAME, random.random(), "unsure", features=random.standard_normal(8).astype(np.float32))
            ids = [each.id for each in waiting.items()]
            waiting.take(ids[:3])
            waiting.drop(ids[:1])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert waiting.used_bytes <= 40_000
    if place:
        assert len(list(place.iterdir())) == len(waiting)


@pytest.mark.parametrize(
    ("unsure", "never_seen", "changed", "reason"),
    [
        (False, False, False, None),
        (True, False, True, "unsure"),
        (True, True, False, "never seen"),
        (False, False, True, "near a change"),
    ],
)
def test_only_frames_that_teach_something_wait(unsure, never_seen, changed, reason):
    assert reason_to_wait(unsure=unsure, never_seen=never_seen, changed=changed) == reason

"""What a running learner keeps makes it faster and changes nothing that it learns."""

import numpy as np
import pytest

from lightcl_edge.data.class_sums import ClassSums
from lightcl_edge.data.sums import Sums
from lightcl_edge.inference.trunk import Trunk
from lightcl_edge.learner import Learner
from lightcl_edge.state.generation_files import HEAD
from lightcl_edge.state.state import State
from small_bundle import make_bundle


def picture(seed, shade):
    noise = np.random.default_rng(seed).integers(0, 40, (32, 32, 3))
    return (noise + np.array(shade)).astype(np.uint8)


LESSONS = [(seed, label) for seed in range(5) for label in ("red", "blue", "grey")]
SHADES = {"red": (200, 0, 0), "blue": (0, 0, 200), "grey": (90, 90, 90)}


def teach(learner, lessons):
    for seed, label in lessons:
        learner.learn_one(picture(seed, SHADES[label]), label)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("kept") / "bundle")


def opened(bundle, state):
    return Learner.open(bundle, state, strategy="slda", engine="ort", threads=1, max_forgetting=1.0)


def test_a_learner_that_keeps_learns_what_one_that_is_opened_anew_learns(bundle, tmp_path, monkeypatch):
    opens = []
    original = Trunk.__init__
    monkeypatch.setattr(Trunk, "__init__", lambda self, *a, **k: (opens.append(1), original(self, *a, **k))[1])
    teach(opened(bundle, tmp_path / "kept"), LESSONS)
    kept_opens = len(opens)
    for lesson in LESSONS:
        teach(opened(bundle, tmp_path / "anew"), [lesson])
    assert kept_opens == 2 and len(opens) - kept_opens == len(LESSONS) + 1  # once more to check the golden images
    kept, anew = (State(tmp_path / name).read() for name in ("kept", "anew"))
    assert kept.meta.classes == anew.meta.classes and kept.meta.images_by_class == anew.meta.images_by_class
    assert kept.classifier.keys() == anew.classifier.keys()
    for name, expected in anew.classifier.items():
        np.testing.assert_allclose(kept.classifier[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    for name in kept.buffer:
        np.testing.assert_array_equal(kept.buffer[name], anew.buffer[name])


def test_what_another_process_changed_is_read_again(bundle, tmp_path):
    learner = opened(bundle, tmp_path / "s")
    teach(learner, LESSONS[:6])
    other = opened(None, tmp_path / "s")
    other.forget("blue")
    teach(learner, [(7, "red")])
    assert learner.classes == ["red", "grey"]
    other.rollback()
    teach(learner, [(8, "blue")])
    assert learner.classes == ["red", "grey", "blue"]
    learner.close()
    teach(learner, [(9, "grey")])
    assert sum(State(tmp_path / "s").read().meta.images_by_class) == 6


def test_a_file_that_was_damaged_meanwhile_is_noticed(bundle, tmp_path):
    from lightcl_edge.errors import StateError

    learner = opened(bundle, tmp_path / "s")
    teach(learner, LESSONS[:3])
    head = State(tmp_path / "s").place(3) / HEAD
    content = bytearray(head.read_bytes())
    head.unlink()
    head.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StateError, match="damaged"):
        teach(learner, [(9, "red")])


@pytest.mark.parametrize("more", [1, 3])
def test_pooled_sums_grow_by_new_samples(more):
    random = np.random.default_rng(more)
    taps = {name: random.normal(size=(4, 6)).astype(np.float32) for name in "abc"}
    sums = Sums(6)
    for name in "ab":
        sums = sums.add(name, taps[name])
    pooled = sums.pooled(["a", "b"])
    for row, name in ((1, "b"), (2, "c")):
        new = random.normal(size=(more, 6)).astype(np.float32)
        pooled, sums = pooled.joined(row, ClassSums.of(new)), sums.add(name, new)
    expected = sums.pooled(["a", "b", "c"])
    np.testing.assert_array_equal(pooled.counts, expected.counts)
    np.testing.assert_allclose(pooled.means, expected.means, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(pooled.scatter, expected.scatter, rtol=1e-6, atol=1e-6)

"""A process that has predicted forks: its children end, and learn and predict with sessions of their own."""

from __future__ import annotations

import subprocess
import sys
import zipfile

SCRIPT = """
import multiprocessing, os, sys, time
import numpy as np
from lightcl_edge import Learner, learner as learner_module
from lightcl_edge.errors import UsageError

def frames(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 255, (count, 20, 20, 3)).astype(np.uint8))

def ends(work):
    child = os.fork()
    if child == 0:
        work()
        sys.exit(0)
    for _ in range(300):
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.05)
    os.kill(child, 9)
    return False

learner_module.usable_cores = lambda: 2  # a session with a pool of threads, on one processor too
learner = Learner.open(sys.argv[1], sys.argv[2], strategy="slda", threads=2)
unpacked = learner._bundle.folder
learner.learn(frames(12), ["a", "b"] * 6)
learner.predict(frames(1))
inherited = learner._predictor

def refused():
    try:
        list(inherited.predict(frames(1)))
    except UsageError as error:
        assert "before the process forked" in str(error)
        return
    raise AssertionError("an inherited session was used")

assert ends(lambda: None), "a child that only ends"
assert ends(lambda: ends(lambda: None)), "a child's child"
assert ends(lambda: print("predicted", learner.predict(frames(1))[0].label in "ab", flush=True)), "predict"
assert ends(lambda: print("learned", learner.learn(frames(6, 1), ["c"] * 6).classes, flush=True)), "learn"
assert ends(refused), "an inherited session"
worker = multiprocessing.get_context("fork").Process(target=learner.learn, args=(frames(6, 2), ["d"] * 6))
worker.start()
worker.join(30)
assert worker.exitcode == 0, worker.exitcode
assert unpacked.is_dir(), "a child removed the parent's folder"
print("parent", learner.classes, learner.predict(frames(1))[0].label in "abcd")
"""


def test_forked_children_end_learn_and_predict(bundle, tmp_path):
    with zipfile.ZipFile(tmp_path / "tiny.lclb", "w") as archive:
        for path in sorted(bundle.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(bundle))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "tiny.lclb"), str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "predicted True",
        "learned ['a', 'b', 'c']",
        "parent ['a', 'b', 'c', 'd'] True",
    ]


def test_a_forked_child_does_not_keep_the_lock(bundle, tmp_path):
    """A fork while the state is locked, such as by a progress callback, copies the lock's handle."""
    script = """
import os, sys, time
from pathlib import Path
from lightcl_edge.state.lock import locked
folder = Path(sys.argv[1])
with locked(folder):
    child = os.fork()
    if child == 0:
        time.sleep(60)
with locked(folder):
    print("locked again")
os.kill(child, 9)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "locked again\n", done.stderr

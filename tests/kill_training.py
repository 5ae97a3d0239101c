"""Kill a real training with SIGKILL at random instants; nothing committed may be lost, the end must be the same.

As a command it kills as often as asked and writes what it saw:
``python tests/kill_training.py --instants 500 --seed 0 --out profiles/reports/sigkill.json``
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))

from lightcl_edge.learning import checkpoint
from lightcl_edge.state.state import State
from lightcl_edge.state.work import has_interrupted_task

_EPOCHS = 12


def _train(state: Path, data: Path) -> int:
    """One run of the command in this process."""
    from lightcl_edge.cli import main

    options = ["--strategy", "replay", "--engine", "ort", "--epochs", str(_EPOCHS), "--threads", "1", "--quiet"]
    return main(["train", "--state", str(state), "--data", str(data), *options])


def _start(state: Path, data: Path) -> int:
    """A process that trains, with all modules loaded already, as a daemon's child would be; gives its id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os._exit(_train(state, data))


def _finish(state: Path, data: Path) -> None:
    _, status = os.waitpid(_start(state, data), 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"training ended with {status}"


def _head(state: State, number: int) -> str:
    return hashlib.sha256((state.place(number) / "head.safetensors").read_bytes()).hexdigest()


def _where(state: State) -> str:
    """How far the killed run had come."""
    if state.current_number() == 2:
        return "after the commit"
    if (state.work / "checkpoint.json").exists():
        return "training, with a checkpoint"
    if (state.work / "features" / "store.json").exists():
        return "training, before a checkpoint"
    return "images to features" if state.work.is_dir() else "before the first write"


def kill_at_random(instants: int, seed: int, folder: Path) -> dict:
    """Kill, look, perhaps kill the run that goes on as well, and compare with a run that nobody killed.

    The window that instants are drawn from follows the speed of the machine, so that most kills come before the commit;
    those that come after it prove little and do not count.

    Args:
        instants: how often to kill before the commit.
        seed: of the instants.
        folder: scratch space.

    Returns:
        What was seen.
    """
    from small_bundle import make_bundle, make_folder

    checkpoint.SECONDS_BETWEEN_CHECKPOINTS, checkpoint.SHARE_AT_RISK = 0.02, 0.0
    rng, bundle = random.Random(seed), make_bundle(folder / "bundle")
    first, second = make_folder(folder / "a", ["red", "green"]), make_folder(folder / "b", ["blue", "grey"], count=30)
    _warm_up()
    before, whole = folder / "before", folder / "whole"
    _install(before, bundle, first)
    shutil.copytree(before, whole)
    started = time.monotonic()
    _finish(whole, second)
    seconds = time.monotonic() - started
    wanted = {1: _head(State(whole), 1), 2: _head(State(whole), 2)}
    seen: Counter[str] = Counter()
    instant = 0
    while seen["kills"] - seen["after the commit"] < instants:
        instant += 1
        state = State(folder / f"killed-{instant}")
        shutil.copytree(before, state.folder)
        for _ in range(2 if rng.random() < 0.3 else 1):  # in three of ten the run that goes on is killed too
            if state.current_number() == 1:
                child = _start(state.folder, second)
                time.sleep(rng.random() * seconds)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                seen["kills"] += 1
                seen[_where(state)] += 1
                seconds *= 0.95 if state.current_number() == 2 else 1.01
                number = state.read().meta.generation
                assert number in wanted and _head(state, number) == wanted[number], f"instant {instant}"
                assert _head(state, 1) == wanted[1]
        if state.current_number() == 1:
            _finish(state.folder, second)
        assert _head(state, 2) == wanted[2], f"instant {instant}: other weights"
        assert state.numbers_on_disk() == [1, 2] and not has_interrupted_task(state)
        shutil.rmtree(state.folder)
    return {"instants": instants, "seed": seed, "runs": instant, "seen": dict(seen)}


def _install(state: Path, bundle: Path, data: Path) -> None:
    from lightcl_edge.cli import main

    options = ["--strategy", "replay", "--engine", "ort", "--epochs", "1", "--threads", "1", "--quiet"]
    child = os.fork()
    if not child:
        os._exit(main(["train", "--bundle", str(bundle), "--state", str(state), "--data", str(data), *options]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _warm_up() -> None:
    """Load every module, but make no session: onnxruntime's threads do not outlive a fork."""
    import onnxruntime  # noqa: F401
    import safetensors.numpy  # noqa: F401

    import lightcl_edge.inference.trunk  # noqa: F401
    from lightcl_edge.machine import freeing

    freeing.give_back.__code__ = (lambda: None).__code__  # else most kills would find so short a training at that


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instants", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        found = kill_at_random(args.instants, args.seed, Path(scratch))
    found["seconds"] = round(time.monotonic() - started, 1)
    found["command"] = f"python tests/kill_training.py --instants {args.instants} --seed {args.seed}"
    text = json.dumps(found, indent=1) + "\n"
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()

"""Feed every reader mutated input, under a memory limit and a time limit; only the documented errors may come out.

As a command it feeds as many inputs as asked, in a process of its own, and writes what it saw:
``python tests/fuzzing.py --inputs 20000 --seed 0 --out profiles/reports/fuzzing.json``
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent / "support" / "fuzzing"))

from fuzzed_files import outside_targets
from fuzzed_generation import generation_targets
from fuzzed_reader import Target
from fuzzed_state import state_targets
from lightcl_edge.errors import LightclError
from small_bundle import make_bundle

#: Address space beyond what the process has when it starts, and the longest any one input may take.
MEMORY_LIMIT_BYTES, SECONDS_AN_INPUT = 512 * 2**20, 10


def targets(folder: Path) -> dict[str, Target]:
    """All readers of what comes from outside, and of what lies on the disk."""
    bundle, archive = make_bundle(folder / "seed"), make_bundle(folder / "seed.lclb").read_bytes()
    return outside_targets(bundle, archive) | state_targets() | generation_targets(folder, bundle)


def _too_slow(number: int, frame: object) -> None:
    raise TimeoutError(f"one input took more than {SECONDS_AN_INPUT} s")


def _place(error: BaseException) -> str:
    """The innermost line of ours, or of a library, that raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def fuzz(inputs: int, seed: int, folder: Path) -> dict:
    """Feed so many inputs in all, by turns to each reader.

    Args:
        inputs: how many.
        seed: of the mutations.
        folder: scratch space.

    Returns:
        What each reader answered, and the slowest input.

    Raises:
        AssertionError: with the input's place, when anything but a documented error came out.
    """
    readers, rng = targets(folder), random.Random(seed)
    for name, target in readers.items():
        for good in target.seeds:
            (folder / target.name).write_bytes(good)
            target.read(folder / target.name)
        assert name
    seen: dict[str, Counter[str]] = {name: Counter() for name in readers}
    slowest = dict.fromkeys(readers, 0.0)
    failures: list[str] = []
    signal.signal(signal.SIGALRM, _too_slow)
    for turn in range(inputs):
        name = list(readers)[turn % len(readers)]
        target = readers[name]
        path = folder / target.name
        data = target.mutated(rng)
        path.write_bytes(data)
        started = time.monotonic()
        signal.alarm(SECONDS_AN_INPUT)
        try:
            target.read(path)
            answer = "accepted"
        except target.errors as error:
            answer = type(error).__name__
            assert isinstance(error, LightclError)
        except BaseException as error:
            failures.append(f"input {turn} (seed {seed}) to the reader of {name}: {error!r} at {_place(error)}")
            continue
        finally:
            signal.alarm(0)
        slowest[name] = max(slowest[name], time.monotonic() - started)
        seen[name][answer] += 1
    assert not failures, "\n".join(failures[:20])
    return {
        "inputs": inputs,
        "seed": seed,
        "answers": {name: dict(sorted(answers.items())) for name, answers in seen.items()},
        "slowest_seconds": {name: round(seconds, 3) for name, seconds in slowest.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "work"
        folder.mkdir()
        targets(folder)  # imports and native libraries first: the limit is for what the inputs do
        shutil.rmtree(folder)
        folder.mkdir()
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = size + MEMORY_LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        found = fuzz(args.inputs, args.seed, folder)
    found["memory_limit_bytes"] = MEMORY_LIMIT_BYTES
    found["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found["seconds"] = round(time.monotonic() - started, 1)
    found["command"] = f"python tests/fuzzing.py --inputs {args.inputs} --seed {args.seed}"
    text = json.dumps(found, indent=1) + "\n"
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()

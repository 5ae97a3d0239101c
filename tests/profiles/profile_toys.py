"""Methods for the tests of the launcher; run in a child process, so they live in a module of their own."""

from __future__ import annotations

import os
import signal
import time
from typing import ClassVar

from lightcl_edge.errors import DataError
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_profiler.methods.contract import Job, Method, Outcome, outcome

MIB = 2**20


class Allocating(Method):
    """Holds 50 MiB in its first phase, nothing in its second."""

    title: ClassVar[str] = "a toy that allocates"

    def imports(self, job: Job) -> None:
        pass

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        with meter.phase("big"):
            held = bytearray(b"x") * (50 * MIB)
            time.sleep(0.15)
            del held
        with meter.phase("small"):
            time.sleep(0.1)
        with meter.phase("small"):
            pass
        threads = os.environ["OMP_NUM_THREADS"]
        return outcome(10, 0.5, [f"threads {threads}", f"scratch {job.scratch}"])


class Killed(Allocating):
    """Ends itself as the kernel does when memory runs out."""

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        with meter.phase("train"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Illegal(Allocating):
    """Ends as a library built for a newer processor does."""

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        os.kill(os.getpid(), signal.SIGILL)
        raise AssertionError


class BadData(Allocating):
    """Fails on its data."""

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        with meter.phase("load"):
            raise DataError("found no images, expected some")


class Broken(Allocating):
    """Has a bug."""

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        raise ZeroDivisionError("a bug in the method")


class Diverging(Allocating):
    """Its loss is not finite."""

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        return outcome(1, float("nan"), [])

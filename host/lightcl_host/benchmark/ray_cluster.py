"""Runs of the benchmark on a cluster of Ray, which says where and when. There each is a fresh process, as here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightcl_edge.errors import NoEngineError, UsageError
from lightcl_host.benchmark.processes import Processes, RunJob


class RayCluster:
    """Hands runs to Ray at an address such as ``local``. Each takes as many processors as it has threads.

    Raises:
        UsageError: when Ray is not installed, or no cluster is there.
    """

    def __init__(self, address: str) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it prints a warning
        try:
            import ray

            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except ModuleNotFoundError as error:
            raise UsageError(f"--ray needs Ray ({error}); pip install 'lightcl-edge[ray]'") from error
        except (ConnectionError, ValueError, RuntimeError) as error:
            found = f"no cluster of Ray at {address} ({str(error)[:200]})"
            raise UsageError(f"{found}; expected local, auto or ray://HOST:10001") from error
        self._ray, self._task = ray, ray.remote(_run)
        self._handed: list[Any] = []

    def run(self, job: RunJob, note: Callable[[str], None]) -> dict[str, Any]:
        """As :meth:`Processes.run`, on a machine of the cluster; its notes stay there."""
        gpus = 1 if job.options.torch_device == "cuda" else 0  # Ray hides them from a run that asks for none
        task = self._task.options(num_cpus=job.options.threads or 1, num_gpus=gpus)
        handed = task.remote(job, Path.cwd())
        self._handed.append(handed)
        try:
            record: dict[str, Any] = self._ray.get(handed)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:  # such as a machine that has no memory left
            where = f"method {job.method!r} with seed {job.seed}"
            raise NoEngineError(f"{where} was lost on the cluster: {str(error)[:300]}") from error
        return record

    def stop(self) -> None:
        """End what still runs; what waits does not begin."""
        for handed in self._handed:
            self._ray.cancel(handed)


def _run(job: RunJob, folder: Path) -> dict[str, Any]:
    os.chdir(folder)  # where the command's paths begin
    return Processes().run(job, lambda _text: None)

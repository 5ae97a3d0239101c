"""The refusal of runs that need more memory or disk than there is."""

import shutil
from pathlib import Path

from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.console.text import format_bytes
from lightcl_edge.errors import DoesNotFitError
from lightcl_edge.machine.memory_limits import MEMORY_RESERVE_BYTES, allowed_bytes
from lightcl_edge.planning.plan import Plan, plan_prediction

#: What makes a phase smaller. An earlier cut leaves less to the trunk, a later one less to the head.
_TRUNK = "or export a bundle with an int8 trunk, a smaller --image-size or an earlier cut"
_HEAD = "or export a bundle with a later cut"
#: What each phase does.
_DOES = {
    "install": "check the bundle once",
    "extract": "turn images into features",
    "import": "load the head",
    "train": "train the head",
    "gate": "judge the head",
    "commit": "judge and write the head",
}
_HELPS = {
    "install": _TRUNK,
    "extract": _TRUNK,
    "import": _HEAD,
    "train": "teach fewer classes or images at once, lower --batch-size (for lightcl also --pattern-samples), take "
    f"--strategy slda or ncm, {_HEAD}",
    "gate": f"lower --buffer-size, {_HEAD}",
    "commit": f"lower --buffer-size, {_HEAD}",
}


def refuse_what_does_not_fit(plan: Plan, budget_bytes: int | None, folder: Path) -> int:
    """Refuse a training that does not fit into memory or the disk of ``folder``; gives the most memory it may take.

    Raises DoesNotFitError with the plan's figures and what to change.
    """
    limit = allowed_bytes(budget_bytes)
    if plan.peak_bytes > limit:
        allowed, remedy = _limit_and_remedy(limit, budget_bytes)
        raise DoesNotFitError(
            f"the plan needs {format_bytes(plan.peak_bytes)} of memory, most of all to {_DOES[plan.largest_phase]} "
            f"(process {format_bytes(plan.base_bytes)}, then images to features {format_bytes(plan.extract_bytes)}, "
            f"then training {format_bytes(plan.train_bytes)}), allowed are {allowed}; "
            f"{remedy}, {_HELPS[plan.largest_phase]}",
            {"plan": plan.document(), "allowed_bytes": limit},
        )
    free = shutil.disk_usage(folder).free
    if plan.disk_bytes > free:
        raise DoesNotFitError(
            f"the plan needs {format_bytes(plan.disk_bytes)} of disk at {folder}, free are {format_bytes(free)}; "
            "free some space or train on fewer images at once"
        )
    return limit


def refuse_prediction(manifest: Manifest, budget_bytes: int | None = None) -> tuple[int, int]:
    """Refuse a prediction that does not fit; gives the bytes needed and allowed. Raises DoesNotFitError with both."""
    needed, limit = plan_prediction(manifest), allowed_bytes(budget_bytes)
    if needed > limit:
        allowed, remedy = _limit_and_remedy(limit, budget_bytes)
        raise DoesNotFitError(
            f"predicting needs {format_bytes(needed)} of memory, allowed are {allowed}; {remedy}, or export a bundle "
            "with a smaller --image-size or an int8 trunk",
            {"plan": {"peak_bytes": needed}, "allowed_bytes": limit},
        )
    return needed, limit


def _limit_and_remedy(limit: int, budget_bytes: int | None) -> tuple[str, str]:
    if limit == budget_bytes:
        return f"{format_bytes(limit)} (--memory-budget)", "raise --memory-budget"
    reserve = format_bytes(MEMORY_RESERVE_BYTES)
    return f"{format_bytes(max(limit, 0))} (what is free here less a reserve of {reserve})", "stop other programs"

"""Whether a prediction fits into the memory that it may take."""

from __future__ import annotations

from lightcl_edge import allowance
from lightcl_edge.console import format_bytes
from lightcl_edge.errors import DoesNotFitError
from lightcl_edge.manifest import Manifest
from lightcl_edge.planner import plan_prediction


def refuse_prediction(manifest: Manifest, budget_bytes: int | None) -> tuple[int, int]:
    """Stop a prediction that does not fit before it starts.

    Args:
        manifest: of the bundle.
        budget_bytes: what the user allows, see :func:`lightcl_edge.allowance.allowed_bytes`.

    Returns:
        Bytes needed and allowed.

    Raises:
        DoesNotFitError: with the figures.
    """
    if budget_bytes is None:
        return allowance.refuse_prediction(manifest)
    needed, limit = plan_prediction(manifest), allowance.allowed_bytes(budget_bytes)
    if needed > limit:
        if limit < budget_bytes:
            allowance.refuse_prediction(manifest)  # it is the machine that has too little
        raise DoesNotFitError(
            f"predicting needs {format_bytes(needed)} of memory, allowed are {format_bytes(limit)} (--memory-budget); "
            "raise --memory-budget, or export a bundle with a smaller --image-size or an int8 trunk",
            {"plan": {"peak_bytes": needed}, "allowed_bytes": limit},
        )
    return needed, limit

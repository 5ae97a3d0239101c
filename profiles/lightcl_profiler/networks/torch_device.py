"""Where torch works."""

from lightcl_edge.errors import UsageError


def torch_device(asked: str, option: str = "--device") -> str:
    """CUDA when it is there, unless the user says otherwise; a UsageError when it is asked for and not there."""
    import torch

    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise UsageError(f"found {option} cuda, but this torch sees no CUDA device; use {option} cpu")
    return "cuda" if available and asked != "cpu" else "cpu"

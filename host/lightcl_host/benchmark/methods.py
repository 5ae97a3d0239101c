"""The methods that can be benchmarked, as a table; their code is imported only when one is made."""

from dataclasses import dataclass

from lightcl_host.benchmark.contract import Method
from lightcl_profiler.baselines import BASELINES


@dataclass(frozen=True)
class Entry:
    """A method.

    Attributes:
        title: one line that says what it is, and which paper it comes from.
        learner: a strategy of the device, or the name of a baseline, which is also that of the paper's formula.
        on_device: a strategy of the device. It learns from the trunk's features, which are extracted beforehand.
        all_at_once: it gets all tasks as one. This is an upper bound, not continual learning.
    """

    title: str
    learner: str
    on_device: bool = True
    all_at_once: bool = False


METHODS = {
    "joint": Entry(
        "upper bound: the same head trained on all tasks at once, from the same start", "replay", all_at_once=True
    ),
    "auto": Entry("the strategy that `auto` picks", "auto"),
    "replay": Entry("latent replay started from discriminant analysis (Pellegrini et al. 2020)", "replay"),
    "lightcl": Entry("LightCL (Wang et al. 2025)", "lightcl"),
    "slda": Entry("streaming linear discriminant analysis (Hayes and Kanan 2020), no gradient", "slda"),
    "ncm": Entry("nearest class mean (Mensink et al. 2013), no gradient", "ncm"),
    "finetune": Entry("plain training of the head on the new task alone", "finetune"),
    "joint_torch": Entry(BASELINES["joint"].title, "joint", on_device=False, all_at_once=True),
    **{name: Entry(entry.title, name, on_device=False) for name, entry in BASELINES.items() if name != "joint"},
}


def make_method(name: str) -> Method:
    """Import the code of a method in ``METHODS`` and make one, which has learned nothing yet."""
    entry = METHODS[name]
    if entry.on_device:
        from lightcl_host.benchmark.device_methods import DeviceMethod

        return DeviceMethod(entry.learner, all_at_once=entry.all_at_once)
    from lightcl_host.benchmark.baseline_methods import BaselineMethod

    return BaselineMethod(entry.learner)

"""Operations as the paper calculates them (Wang et al., ASP-DAC 2025, Table 1), for any network and amount of work.

A multiply-add is two operations. A pass forward is ``F``, a pass forward and backward ``3F``; ``F4`` is the part after
the cut. With batch b and r remembered images a step, an image costs an epoch: SGD ``3F``, ER ``3F (b + r) / b``, DER++
``3F (b + 2r) / b``, LightCL ``(F + 2 F4)(b + r) / b``. Sparse LightCL costs the same with the channels that its masks
keep. These formulas meet the published figures to 1 %. The paper publishes no others: the rest follow the same way from
what each method computes, as docs/builders/results.md says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lightcl_profiler.paper.memory import NetworkCount

_OPERATIONS = 2
#: As in baselines/sparcl.py: the shares of weights in use, of weights updated, of images left after the first epoch.
_USED, _UPDATED, _LEFT = 0.25, 0.2, 0.7
#: As in baselines/ewc.py: images of a task that give its Fisher information.
_FISHER_IMAGES = 100


@dataclass(frozen=True)
class Learning:
    """How much was learned."""

    images: tuple[int, ...]  # of each task
    epochs: int
    batch: int  # images a step
    remembered: int  # images that a step replays or holds patterns of
    kept: int = 0  # the most samples that the device's feature buffer holds; 0 for other methods

    @property
    def passes(self) -> int:
        """Images, counted once an epoch."""
        return sum(self.images) * self.epochs

    def grown(self, draws: int) -> float:
        """How much larger a step becomes when it draws remembered images this many times."""
        return (self.batch + draws * self.remembered) / self.batch


def calculated_operations(method: str, net: NetworkCount, work: Learning) -> int | None:
    """Floating-point operations of learning the whole sequence; None where there is no formula.

    A method is a baseline's name, or ``device:NAME`` for a strategy of the device.
    """
    formula = _FORMULAS.get(method)
    return None if formula is None else round(_OPERATIONS * formula(net, work))


def _whole(draws: int) -> Callable[[NetworkCount, Learning], float]:
    return lambda net, work: 3 * net.multiply_adds * work.passes * work.grown(draws)


def _ewc(net: NetworkCount, work: Learning) -> float:
    """Each task ends with a pass forward and backward over some single images."""
    looked_at = sum(min(count, _FISHER_IMAGES) for count in work.images)
    return 3 * net.multiply_adds * (work.passes + looked_at)


def _pnn(net: NetworkCount, work: Learning) -> float:
    """A new column is trained, earlier columns run forward. Lateral connections are not counted."""
    return sum((3 + column) * net.multiply_adds * count * work.epochs for column, count in enumerate(work.images))


def _sparse(draws: int) -> Callable[[NetworkCount, Learning], float]:
    """Zero weights, weights that are not updated and images that left the training cost nothing."""
    share = 2 * _USED + _UPDATED

    def formula(net: NetworkCount, work: Learning) -> float:
        passes = sum(work.images) * (1 + _LEFT * (work.epochs - 1))
        return share * net.multiply_adds * passes * work.grown(draws)

    return formula


def _lightcl(net: NetworkCount, work: Learning) -> float:
    return (net.multiply_adds + 2 * net.head_multiply_adds) * work.passes * work.grown(1)


def _lightcl_sparse(net: NetworkCount, work: Learning) -> float:
    return (net.kept_multiply_adds + 2 * net.kept_head_multiply_adds) * work.passes * work.grown(1)


def _trunk(net: NetworkCount, work: Learning) -> float:
    """The device runs the trunk once for each image, not once an epoch."""
    return float((net.multiply_adds - net.head_multiply_adds) * sum(work.images))


def _device_head(net: NetworkCount, work: Learning, samples: float) -> float:
    return _trunk(net, work) + 3 * net.head_multiply_adds * samples * work.epochs


def _device_replay(net: NetworkCount, work: Learning) -> float:
    """Every epoch passes over the task's samples and over all kept samples of earlier tasks."""
    before = [min(work.kept, sum(work.images[:task])) for task in range(len(work.images))]
    return _device_head(net, work, sum(work.images) + sum(before))


def _device_closed_form(net: NetworkCount, work: Learning) -> float:
    """The whole network runs forward once for each image. Sums of statistics are not counted."""
    return float(net.multiply_adds * sum(work.images))


_FORMULAS: Mapping[str, Callable[[NetworkCount, Learning], float]] = {
    "joint": _whole(0),
    "sgd": _whole(0),
    "ewc": _ewc,
    "pnn": _pnn,
    "fdr": _whole(1),
    "er": _whole(1),
    "derpp": _whole(2),
    "sparcl_er": _sparse(1),
    "sparcl_derpp": _sparse(2),
    "lightcl_torch": _lightcl,
    "lightcl_sparse": _lightcl_sparse,
    "device:lightcl": lambda net, work: _device_head(net, work, sum(work.images) * work.grown(1)),
    "device:finetune": lambda net, work: _device_head(net, work, sum(work.images)),
    "device:replay": _device_replay,
    "device:slda": _device_closed_form,
    "device:ncm": _device_closed_form,
}

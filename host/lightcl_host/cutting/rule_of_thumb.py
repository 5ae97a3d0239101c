"""Where ``--cut auto`` cuts a network when nothing has been measured."""

from lightcl_edge.errors import UsageError
from lightcl_host.cutting.cuts import Cut, spatial

#: The head must keep at least this share of the network's weights, without the classifier's. With fewer it can hardly
#: learn anything.
MINIMUM_HEAD_SHARE = 0.2

#: A class token makes the features of a transformer a little larger than its patches are.
_LARGER = 1.1

RULE = (
    f"the deepest trainable cut whose head keeps at least {MINIMUM_HEAD_SHARE:.0%} of the weights (without the "
    "classifier) and whose features are maps or tokens, at most a tenth larger than at any cut before it"
)


def choose_automatically(cuts: list[Cut]) -> Cut:
    """The cut by :data:`RULE`, from all cuts in order.

    Features that are larger than at some earlier cut cost more memory and leave less to train. So such cuts, inside the
    blocks of a MobileNet where channels are expanded, are never chosen. Where no cut has a feature map, a vector is
    taken. Raises UsageError, which names the obstacle, when no cut can be trained.
    """
    trainable = [cut for cut in cuts if cut.trainable]
    if not trainable:
        reason = cuts[-1].reason if cuts else "no tensor alone carries all information"
        raise UsageError(f"no cut of this network can be trained: {reason}; give another model")
    compact = [
        cut
        for position, cut in enumerate(trainable)
        if cut.feature_bytes <= _LARGER * min(other.feature_bytes for other in trainable[: position + 1])
    ]
    large_enough = [cut for cut in compact if _head_share(cut) >= MINIMUM_HEAD_SHARE]
    maps = [cut for cut in large_enough if spatial(cut.shape)]
    return (maps or large_enough or trainable[:1])[-1]


def _head_share(cut: Cut) -> float:
    """The head's share of all weights, the classifier left out of both."""
    body = cut.trunk_parameters + cut.head_parameters - cut.classifier_parameters
    return (cut.head_parameters - cut.classifier_parameters) / body if body else 0.0

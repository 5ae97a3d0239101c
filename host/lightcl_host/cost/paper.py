"""Memory and operations as the LightCL paper calculates them (its table 1 says that they are theoretical).

``docs/cost.md`` derives every formula, compares it with the paper, and says which figures can't be reproduced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lightcl_host.cost.network import NetworkCount

FLOAT_BYTES = 4
#: Floating-point operations of a multiply-add.
_OPERATIONS = 2
#: A pass forward and backward: one product forward, two backward.
_FORWARD_BACKWARD, _BACKWARD = 3, 2
#: Copies of the network in PNN: five columns and the gradients of the one in training. The paper counts as many for
#: ten tasks as for five.
_PNN_COPIES = 6
#: What the paper's LightCL trains of a ResNet-18.
TRAINED = ("layer4", "fc")
#: Channels that the reference code masks when asked for a sparse network, by stage; all others are kept.
MASKED_CHANNELS = {"layer1": 0.2, "layer2": 0.2, "layer3": 0.7, "layer4": 0.8}


@dataclass(frozen=True)
class Setting:
    """What is trained on what.

    Attributes:
        batch: samples a step.
        buffer: samples of the replay buffer, or with patterns, a step.
        task_classes: classes of a task: the width of a PNN column's classifier.
        images: training images of the whole sequence.
        epochs: passes over each task.
        pattern_ratio: share of channels whose patterns LightCL holds.
    """

    batch: int
    buffer: int
    task_classes: int
    images: int
    epochs: int
    pattern_ratio: float = 0.15

    @property
    def rows(self) -> int:
        """Samples of batch and buffer together."""
        return self.batch + self.buffer


@dataclass(frozen=True)
class _Terms:
    """The quantities of the formulas, in bytes, for one network and setting."""

    net: NetworkCount
    setting: Setting

    @property
    def weights(self) -> int:
        return FLOAT_BYTES * self.net.parameters()

    @property
    def trained(self) -> int:
        return FLOAT_BYTES * self.net.parameters(TRAINED)

    @property
    def activations(self) -> int:
        return self.net.activation_bytes()

    @property
    def convolutions(self) -> int:
        return FLOAT_BYTES * self.net.convolution_parameters()

    @property
    def trained_convolutions(self) -> int:
        return FLOAT_BYTES * self.net.convolution_parameters(TRAINED)


def memory_bytes(method: str, net: NetworkCount, setting: Setting) -> int:
    """What a method needs by its formula.

    Args:
        method: a key of :data:`MEMORY`.
        net: the network's counts.
        setting: batch, buffer and the like.

    Returns:
        Bytes.
    """
    return round(MEMORY[method](_Terms(net, setting)))


def _dense(copies: int, batches: Callable[[Setting], int]) -> Callable[[_Terms], float]:
    return lambda t: copies * t.weights + batches(t.setting) * t.activations


def _pnn(t: _Terms) -> float:
    column = t.weights - FLOAT_BYTES * (t.net.classes - t.setting.task_classes) * (t.net.width + 1)
    return _PNN_COPIES * column + t.setting.batch * t.activations


def _sparse(sparsity: float, batches: Callable[[Setting], int]) -> Callable[[_Terms], float]:
    """Weights and gradients of convolutions at the density; classifier, batch norm and activations whole."""
    return lambda t: 2 * t.weights - 2 * sparsity * t.convolutions + batches(t.setting) * t.activations


def _lightcl(sparsity: float) -> Callable[[_Terms], float]:
    """Weights, gradients of the trained part, its activations, the largest frozen one, the held patterns."""

    def formula(t: _Terms) -> float:
        rows, setting = t.setting.rows, t.setting
        weights = t.weights + t.trained - sparsity * (t.convolutions + t.trained_convolutions)
        trained = t.net.activation_bytes(TRAINED)
        patterns = setting.buffer * setting.pattern_ratio * trained
        return weights + rows * trained + rows * t.net.largest_activation_bytes(TRAINED) + patterns

    return formula


def _lightcl_joint(t: _Terms) -> float:
    """The reading that fits both data sets; see docs/cost.md."""
    largest = t.net.largest_activation_bytes(TRAINED)
    return (1 + t.setting.pattern_ratio) * t.weights + t.trained + t.setting.rows * largest


MEMORY: dict[str, Callable[[_Terms], float]] = {
    "sgd": _dense(2, lambda s: s.batch),
    "ewc": _dense(3, lambda s: s.batch),
    "pnn": _pnn,
    "fdr": _dense(2, lambda s: s.batch + s.buffer),
    "er": _dense(2, lambda s: s.batch + s.buffer),
    "derpp": _dense(2, lambda s: s.batch + 2 * s.buffer),
    "sparcl-er": _sparse(0.9, lambda s: s.batch + s.buffer),
    "sparcl-derpp": _sparse(0.9, lambda s: s.batch + 2 * s.buffer),
    "lightcl": _lightcl(0.0),
    "lightcl-joint": _lightcl_joint,
    "lightcl-0.9": _lightcl(0.9),
}


def operations(method: str, net: NetworkCount, setting: Setting) -> float:
    """Floating-point operations of learning the whole sequence.

    Args:
        method: ``sgd``, ``er``, ``derpp``, ``lightcl`` or ``lightcl-0.9``.
        net: the network's counts.
        setting: images, epochs, batch and buffer.

    Returns:
        Operations, two for a multiply-add.
    """
    whole = _FORWARD_BACKWARD * net.multiply_adds()
    light = net.multiply_adds() + _BACKWARD * net.multiply_adds(TRAINED)
    sparse = net.multiply_adds(kept=_kept) + _BACKWARD * net.multiply_adds(TRAINED, kept=_kept)
    batch, buffer = setting.batch, setting.buffer
    each = {
        "sgd": whole,
        "er": whole * (batch + buffer) / batch,
        "derpp": whole * (batch + 2 * buffer) / batch,
        "lightcl": light * (batch + buffer) / batch,
        "lightcl-0.9": sparse * (batch + buffer) / batch,
    }
    return _OPERATIONS * each[method] * setting.images * setting.epochs


def _kept(layer: str) -> float:
    return 1 - MASKED_CHANNELS.get(layer.split(".", maxsplit=1)[0], 0.0)

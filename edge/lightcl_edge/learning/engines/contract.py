"""The contract every engine keeps, and the batch it is given.

The loss of a step is ``sum_i weights[i] * CE(logits[i] + logit_offset[i], labels[i])
+ beta * sum_t sum(masks[t] * (activations[t] - targets[t])**2)``: cross entropy plus LightCL's
feature-pattern term (Wang et al., ASP-DAC 2025). The update is plain SGD, applied parameter by parameter.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightcl_edge.files.tensors import FloatArray, IntArray, Parameters


@dataclass(frozen=True)
class PatternTerm:
    """Samples whose activations in the head should stay as they were.

    Attributes:
        features: shape ``(m, *feature_shape)``.
        targets: pattern tensor name -> activations under the old head, shape ``(m, *tensor_shape)``.
        masks: pattern tensor name -> 1 for channels that are held, 0 for free ones, shape ``(channels,)``,
            applied along axis 1 of the tensor.
    """

    features: FloatArray
    targets: Mapping[str, FloatArray]
    masks: Mapping[str, FloatArray]
    beta: float


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Attributes:
        features: shape ``(n, *feature_shape)``.
        labels: rows of the classifier, shape ``(n,)``.
        logit_offset: added to the logits before the softmax, shape ``(n, capacity)``: 0 for a class that takes part,
            ``MASKED_LOGIT`` for one that does not, or logits of another classifier that the head is trained on top of.
        weights: each sample's share of the cross entropy, shape ``(n,)``; ``1/n`` each gives the mean.
        patterns: None for cross entropy alone.
    """

    features: FloatArray
    labels: IntArray
    logit_offset: FloatArray
    weights: FloatArray
    learning_rate: float
    patterns: PatternTerm | None = None


class Engine(ABC):
    """Holds the head's parameters and changes them by steps. Inputs are never modified."""

    name: str
    #: What computes a step, and why.
    device: str = "cpu"
    device_reason: str = "this engine runs on the processor"

    @abstractmethod
    def load(self, parameters: Parameters) -> None:
        """Take over a copy of all parameters.

        Raises:
            BundleError: when a name or shape differs from the manifest's.
        """

    @abstractmethod
    def step(self, batch: Batch) -> float:
        """One SGD step; gives the loss before the update."""

    @abstractmethod
    def logits(self, features: FloatArray) -> FloatArray:
        """Logits of features of shape ``(n, *feature_shape)``, unmasked; shape ``(n, capacity)``."""

    @abstractmethod
    def activations(self, features: FloatArray, names: Sequence[str]) -> dict[str, FloatArray]:
        """The named output tensors of the head (patterns, ``penultimate``, ``logits``) for the features."""

    @abstractmethod
    def parameters(self) -> dict[str, FloatArray]:
        """A copy of all parameters by name."""

    def views(self) -> Parameters:
        """The parameters themselves, to be read only, valid until the next step or load."""
        return self.parameters()

    def rest(self) -> None:
        """Give back what only a step needs, where that is much; the next step opens it again."""
        return

    def close(self) -> None:
        """Give back what the engine holds; it is not used afterwards."""
        return

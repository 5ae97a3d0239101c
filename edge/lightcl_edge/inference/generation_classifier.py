"""The classifier of a generation."""

from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.state.generation import Generation


def classifier_of(generation: Generation, *, scores: bool = True) -> LearnedClassifier:
    """The generation's own classifier, or its head alone where it has none, as a bundle's own classes.

    Without ``scores`` it does not tell what was never seen, and needs no matrix for that. Raises StateError when it
    does not fit.
    """
    classes, size = len(generation.meta.classes), generation.sums.size
    if not generation.classifier:
        return LearnedClassifier.of_head(classes, size)
    return LearnedClassifier.from_tensors(generation.classifier, classes, size, scores=scores)

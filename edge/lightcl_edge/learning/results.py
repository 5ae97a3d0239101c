"""What learning and forgetting have changed, as an application gets it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from lightcl_edge.console.text import Document


@dataclass(frozen=True)
class ClassChange:
    """How a task changed a class: accuracies 0 to 1, or None.

    Attributes:
        images: samples that it was judged on.
        learned_images: so many of them were learned from, because few are held out.
        before: None for a new class.
        after: among all classes.
        after_among_earlier_classes: among the classes that were known before; None for a new class.
    """

    images: int
    learned_images: int
    before: float | None
    after: float | None
    after_among_earlier_classes: float | None


@dataclass(frozen=True)
class Learned:
    """What a task has changed.

    Attributes:
        generation: number of the new generation.
        images: learned from.
        holdout_accuracy: on held-out features, the mean over all classes; None when none are held out yet.
        per_class: by name of the class.
        warnings: what a person should look at: a class that fell, images that look like another class.
        notes: what a person should know, such as names of classes that differ little.
    """

    generation: int
    classes: list[str]
    new_classes: list[str]
    images: int
    strategy: str
    holdout_accuracy: float | None
    per_class: dict[str, ClassChange]
    warnings: list[str]
    notes: list[str]
    seconds: float

    @classmethod
    def of(cls, document: Document) -> Learned:
        """From the document of ``train``."""
        changes = {
            name: ClassChange(**{field.name: entry[field.name] for field in fields(ClassChange)})
            for name, entry in document["per_class"].items()
        }
        found = {field.name: document[field.name] for field in fields(cls)}
        return cls(**{**found, "per_class": changes})


@dataclass(frozen=True)
class Forgotten:
    """What was erased for good, or would be.

    Attributes:
        name: of the class.
        generation: in use afterwards; before a dry run, the present one.
        classes: known afterwards.
        generations_rewritten: how many knew the class.
        samples_erased: the most that one of them had.
    """

    name: str
    generation: int
    classes: list[str]
    generations_rewritten: int
    samples_erased: int

    @classmethod
    def of(cls, document: Document) -> Forgotten:
        """From the document of ``forget``."""
        found = {field.name: document[field.name] for field in fields(cls) if field.name != "name"}
        return cls(name=document["class"], **found)

"""What evaluation counts, against scikit-learn, on predictions made by hand."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score

from hand_made_classifier import hand_made
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.image_list import ImageList
from lightcl_edge.errors import UsageError
from lightcl_edge.inference.calibration import expected_calibration_error
from lightcl_edge.inference.evaluation import evaluate
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.inference.prediction import Limits
from lightcl_edge.inference.predictor import Scores
from small_bundle import INPUT

NAMES = ["a", "b", "c"]
MEANS = np.array([[3.0, 1.8], [1.8, 3.0], [3.0, 3.0]])
WITHIN = np.diag([0.3, 0.2])


class ByHand:
    """Predicts from the first pixel of an image: its red and green, as taps of two numbers."""

    classes, input, grey_range = NAMES, INPUT, None

    def __init__(self, classifier):
        self.classifier = classifier

    def scores_of(self, images):
        for image in images:
            taps = (image[None, 0, 0, :2] / 50).astype(np.float32)
            logits = np.concatenate([taps, 0 * taps], axis=1)
            yield Scores(self.classifier.probabilities(taps, logits), self.classifier.novelty(taps), taps)


def pictures(means, counts, seed=0):
    rng = np.random.default_rng(seed)
    taps = np.concatenate([rng.multivariate_normal(m, WITHIN, n) for m, n in zip(means, counts, strict=True)])
    pixels = np.zeros((len(taps), INPUT.height, INPUT.width, 3), np.uint8)
    pixels[..., :2] = np.clip(50 * taps, 0, 255)[:, None, None]
    return pixels


@pytest.fixture(scope="module")
def classifier():
    held_out = pictures(MEANS, [60, 60, 60], seed=5)[:, 0, 0, :2] / 50
    return hand_made(MEANS, WITHIN, held_out=held_out.astype(np.float32))


def evaluated(classifier, counts=(90, 12, 12), **more):
    labels = [name for name, count in zip(NAMES, counts, strict=True) for _ in range(count)]
    images = ImageList(pictures(MEANS, counts), labels)
    return evaluate(ByHand(classifier), images, Progress(quiet=True), **more), images


def test_figures_are_those_of_scikit_learn(classifier):
    strange = pictures(np.array([[0.2, 0.2]]), [40], seed=1)
    found, images = evaluated(classifier, unknown=strange)
    predictor = ByHand(classifier)
    scores = list(predictor.scores_of(images.image(at) for at in range(len(images))))
    probabilities = np.concatenate([each.probabilities for each in scores])
    guess = probabilities.argmax(axis=1)
    right, confidences = guess == images.labels, probabilities.max(axis=1)
    assert np.array_equal(found.confusion, confusion_matrix(images.labels, guess, labels=[0, 1, 2]))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(images.labels, guess))
    assert found.accuracy == pytest.approx(right.mean()) and found.accuracy != found.balanced_accuracy
    assert found.error_auroc == pytest.approx(roc_auc_score(right, confidences))
    assert found.expected_calibration_error == pytest.approx(expected_calibration_error(confidences, right))
    known = np.concatenate([each.novelty for each in scores])
    others = np.concatenate([each.novelty for each in predictor.scores_of(strange)])
    truth = [0] * len(known) + [1] * len(others)
    assert found.unknown.auroc == pytest.approx(roc_auc_score(truth, np.concatenate([known, others])))
    assert found.unknown.images == 40 and found.unknown.found > 0.9
    assert found.false_alarm_rate == pytest.approx((known > classifier.threshold()).mean())
    assert 0 < found.false_alarm_rate < 0.15


def test_more_false_alarms_find_more(classifier):
    strange = pictures(np.array([[1.0, 1.0]]), [80], seed=2)
    few, many = (evaluated(classifier, limits=Limits(rate), unknown=strange)[0] for rate in (0.01, 0.3))
    assert few.false_alarm_rate < many.false_alarm_rate and few.unknown.found < many.unknown.found
    assert few.unknown.auroc == many.unknown.auroc


def test_the_document_has_counts_of_each_class(classifier):
    document = evaluated(classifier)[0].document()
    assert {name: entry["images"] for name, entry in document["per_class"].items()} == {"a": 90, "b": 12, "c": 12}
    mean = np.mean([entry["accuracy"] for entry in document["per_class"].values()])
    assert document["balanced_accuracy"] == pytest.approx(mean)
    assert document["unknown_auroc"] is None and document["unknown_images"] is None


def test_classes_without_images_do_not_count(classifier):
    found, _ = evaluated(classifier, counts=(30, 0, 0))
    assert found.balanced_accuracy == pytest.approx(found.accuracy)


def test_without_rows_nothing_is_said_of_the_unknown():
    strange = pictures(np.array([[0.2, 0.2]]), [3])
    found, _ = evaluated(LearnedClassifier.of_head(3, 2), unknown=strange)
    assert found.false_alarm_rate is None and found.unknown is None
    assert found.document()["unknown_auroc"] is None


@pytest.mark.parametrize("limits", [(-0.1, 0.5), (0.05, 1.5), (float("nan"), 0.5)])
def test_limits_are_shares(limits):
    with pytest.raises(UsageError, match="expected a share of 0 to 1"):
        Limits(*limits)

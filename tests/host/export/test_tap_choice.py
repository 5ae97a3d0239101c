"""Choosing taps on labelled images: by accuracy on images that were not fitted on, else by the rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.graph_names import FEATURES, IMAGE
from lightcl_edge.console.progress import Progress
from lightcl_host.commands.export import render_export
from lightcl_host.cutting.taps import TapPlace
from lightcl_host.export.export import export_bundle
from lightcl_host.export.options import ExportOptions
from lightcl_host.export.tap_choice import clearly_best, short_list, spread_of
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.sources.options import SourceOptions
from lightcl_host.trunks.calibration import CALIBRATION_IMAGES
from lightcl_host.trunks.feature_quality import held_out_hits


def test_each_image_is_predicted_without_itself() -> None:
    """Numbers without meaning give chance, however many they are; numbers with meaning do not."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    noise = rng.standard_normal((120, 200)).astype(np.float32)
    assert held_out_hits(noise, labels).mean() < 0.4
    noise[:, 0] += 20 * labels
    noise[:, 1] += 20 * (labels % 2)
    assert held_out_hits(noise, labels).mean() > 0.95


def test_agrees_with_scikit_learn() -> None:
    """Many samples leave almost no shrinkage: then it is the textbook's analysis, fold by fold."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rng = np.random.default_rng(1)
    labels = np.tile(np.arange(3), 400)
    taps = (rng.standard_normal((1200, 4)) * [1, 2, 1, 2] + 0.6 * labels[:, None]).astype(np.float32)
    fold = np.arange(1200) // 3 % 4
    expected = np.zeros(1200, bool)
    for held in range(4):
        model = LinearDiscriminantAnalysis(priors=[1 / 3] * 3).fit(taps[fold != held], labels[fold != held])
        expected[fold == held] = model.predict(taps[fold == held]) == labels[fold == held]
    assert (held_out_hits(taps, labels) == expected).mean() > 0.99


def test_another_choice_must_be_clearly_better_than_the_default() -> None:
    hits = np.zeros((3, 100), bool)
    hits[0, :78], hits[1, :60], hits[2, :79], hits[2, 0] = True, True, True, False
    assert clearly_best(list(hits)) == 0
    hits[2, 79:84] = True
    assert clearly_best(list(hits)) == 2
    assert clearly_best([hits[2]] * 3) == 0


def test_the_short_list_begins_with_the_default_and_fits() -> None:
    def places(*sizes: int, last: str = "block") -> list[TapPlace]:
        names = [str(at) for at in range(len(sizes) - 1)] + [last]
        return [
            TapPlace(name, name, (size, 2, 2) if at else (size,))
            for at, (name, size) in enumerate(zip(names, sizes, strict=True))
        ]

    def listed(*sizes: int, last: str = "block") -> list[list[int]]:
        return [[tap.size for tap in each] for each in short_list(places(*sizes, last=last))]

    assert listed(1280, 320, 1152, 192, 112) == [[320, 192, 192], [320], [320, 192], [320, 192, 112]]
    assert listed(1280, 320, 192, 112, last=FEATURES) == [
        [320, 192, 192, 112, 112],
        [320],
        [320, 192],
        [320, 192, 112],
        [320, 192, 112, 112],
        [320, 112, 112],
    ]
    assert listed(1280, 320, 192, last=FEATURES) == [[320, 192, 192], [320], [320, 192]]
    assert listed(512, 512, 256) == [[512, 512], [512]]
    assert listed(512, 512, 256, last=FEATURES) == [[512, 512], [512], [512, 256, 256]]
    assert listed(900, 100, 50, 20) == [[100, 50, 50], [100], [100, 50], [100, 50, 20], [900], [900, 100]]
    assert listed(2048, 2048) == [[2048]]
    wide = short_list(places(1280, 320, 192, 112), 2048)
    assert [[tap.size for tap in each] for each in wide if each[0].size == 1280] == [
        [1280],
        [1280, 320],
        [1280, 320, 192],
        [1280, 320, 192, 192],
    ]


def test_spread_is_the_mean_distance_from_the_mean() -> None:
    part = np.array([[1, 0], [0, 1]], np.float32)
    assert spread_of(part) == pytest.approx(np.sqrt(0.5))
    assert spread_of(part[:1]) == 1.0


@pytest.fixture(scope="module")
def made(network_file: Path, pictures_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Exports with and without labelled images."""
    folder = tmp_path_factory.mktemp("taps")
    found = {}
    for name, data in (("labelled", str(pictures_file)), ("plain", None)):
        options = ExportOptions(
            SourceOptions(str(network_file)), folder / name, cut="stage1.0", trunk_dtype="fp32", calibration=data
        )
        found[name] = export_bundle(options, Progress(quiet=True))
    return found


def test_labelled_images_choose(made: dict[str, dict]) -> None:
    document, manifest = made["labelled"], Bundle.open(made["labelled"]["bundle"]).manifest
    choice = document["taps"]
    assert choice["chosen_by"] == "accuracy" and choice["images"] >= 16 and len(choice["tries"]) >= 2
    best = max(each["accuracy"] for each in choice["tries"])
    assert choice["accuracy"] > 1.5 / choice["classes"] and choice["accuracy"] >= best - 0.1
    assert [tap.name for tap in manifest.head.taps] == choice["taps"]
    assert manifest.head.tap_size == choice["size"]
    assert manifest.provenance["taps_images"] == choice["images"]
    assert " + ".join(choice["taps"]) in manifest.provenance["taps_tried"]
    assert f"right on {choice['accuracy']:.1%} of {choice['images']} held-out images" in render_export(document)


def test_without_labels_the_rule_decides(made: dict[str, dict]) -> None:
    document, manifest = made["plain"], Bundle.open(made["plain"]["bundle"]).manifest
    assert document["taps"]["chosen_by"] == "default" and document["taps"]["accuracy"] is None
    assert manifest.provenance["taps_chosen_by"] == "default"
    assert "by the default rule" in render_export(document)


def test_the_trunk_sees_each_calibration_image_once(network_file: Path, tmp_path: Path, monkeypatch) -> None:
    seen, run = [], GraphRunner.__call__

    def counted(self, inputs, outputs):
        if IMAGE in inputs and outputs == [FEATURES]:
            seen.append(len(inputs[IMAGE]))
        return run(self, inputs, outputs)

    monkeypatch.setattr(GraphRunner, "__call__", counted)
    options = ExportOptions(SourceOptions(str(network_file)), tmp_path / "b", cut="stage1.0", trunk_dtype="fp32")
    export_bundle(options, Progress(quiet=True))
    assert sum(seen) == 2 * CALIBRATION_IMAGES

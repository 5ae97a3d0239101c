"""Compares an emulated machine's results with this machine's, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arm64.compare import Drift, answers_apart, learned_distance, relative_rms, share_different
from arm64.inputs import TRUNKS
from lightcl_edge.state.state import State

#: Float32 in another order of addition: some ten roundings of 6e-8 a layer, over some sixty layers.
FEATURES_FP32 = 1e-5
#: Most pictures give equal features to the last bit. Where the last bit of a float decides between two integers, the
#: layers behind carry that on, until the picture differs by about as much as quantising costs it. That is no fault of a
#: processor: on x86-64 alone, inputs changed by one part in ten million do it to 3 pictures of 32. So the limit
#: is what quantising costs, found by comparing the int8 and the fp32 trunk on the same pictures.
FEATURES_INT8_SHARE = 1.0
#: Of what was learned. Each step repeats the roundings above and the next begins where it ended; ten to twenty times
#: what was found when this was written.
WEIGHTS = {"fp32": 1e-3, "int8": 0.05}
#: Of a class; in a picture whose two first classes are closer than that, the first may change.
PROBABILITY = {"fp32": 1e-3, "int8": 0.05}


def judge(found: Mapping[str, Any], work: Path, expected: Mapping[str, Any], reference: Path) -> list[Drift]:
    """All comparisons of a machine that did everything.

    Args:
        found: its results.
        work: its folder.
        expected: this machine's results with the same engine.
        reference: its folder.

    Returns:
        The comparisons, passed and failed.
    """
    drifts = _features(work / "features" / "features.npz", reference / "features" / "features.npz")
    for dtype in TRUNKS:
        drifts += _learned(dtype, work / f"learned-{dtype}", reference / f"learned-{dtype}")
        one, two = (results[f"predict {dtype}"]["predictions"] for results in (found, expected))
        others, probability = answers_apart(one, two, PROBABILITY[dtype])
        drifts.append(Drift(f"{dtype}: pictures with another first class, unless undecided", others, 0.0, "pictures"))
        drifts.append(Drift(f"{dtype}: largest difference of a probability", probability, PROBABILITY[dtype], "of 1"))
    resumed = found["kill and resume"]
    same = resumed["resumed"] and resumed["head_sha256"] == found["train fp32"]["head_sha256"]
    drifts.append(Drift("killed and resumed: other weights than uninterrupted", float(not same), 0.0, "yes or no"))
    return drifts


def _features(found: Path, expected: Path) -> list[Drift]:
    with np.load(found) as one, np.load(expected) as two:
        pixels = share_different(one["pixels.bundle-fp32"], two["pixels.bundle-fp32"])
        fp32 = relative_rms(one["features.bundle-fp32"], two["features.bundle-fp32"])
        int8 = relative_rms(one["features.bundle-int8"], two["features.bundle-int8"])
        quantising = relative_rms(two["features.bundle-int8"], two["features.bundle-fp32"])
        differs = one["features.bundle-int8"] != two["features.bundle-int8"]
        changed = differs.reshape(len(differs), -1).any(axis=1)
    unit = "relative, root mean square"
    return [
        Drift("pixels of decoded and resized JPEG files", pixels, 0.0, "share that differs"),
        Drift("fp32: features", fp32, FEATURES_FP32, unit),
        Drift("int8: features; quantising itself costs what is allowed", int8, FEATURES_INT8_SHARE * quantising, unit),
        Drift(f"int8: pictures of {len(changed)} with any other feature", float(changed.sum()), None, "pictures"),
    ]


def _learned(dtype: str, found: Path, expected: Path) -> list[Drift]:
    one, two, start = State(found).read(), State(expected).read(), State(expected).read(0)
    weights = [{name: np.asarray(g.parameters[name]) for name in g.parameters} for g in (one, two, start)]
    stored = [np.asarray(g.buffer["features"]).astype(np.int16) for g in (one, two)]
    steps = float(np.abs(stored[0] - stored[1]).max()) if stored[0].shape == stored[1].shape else math.inf
    return [
        Drift(f"{dtype}: stored features", share_different(*stored), None, "share of bytes that differs"),
        Drift(f"{dtype}: stored features, largest", steps, 1.0 if dtype == "fp32" else None, "steps of 255"),
        Drift(f"{dtype}: trained weights", learned_distance(*weights), WEIGHTS[dtype], "of what was learned"),
    ]

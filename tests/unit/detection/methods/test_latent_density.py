"""The density of latents."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import (
    material,
    score_table,
)

from icflow.config import Detector
from icflow.detection import detectors
from icflow.detection.methods.latent_density import improbability
from icflow.errors import IcflowError


def test_improbability_counts_in_the_longer_tail() -> None:
    # Skewed to low values: what lies low is improbable, what lies high is not.
    known = np.array([[-9.0], [-4.0], [-1.0], [0.0], [0.5]])
    found = improbability(known, np.array([[-20.0], [-4.0], [9.0], [np.nan]]))
    np.testing.assert_allclose(found[:3], -np.log(np.array([0.5, 2.5, 5.5]) / 6))
    assert np.isnan(found[3])
    # Mirrored it is the same; coordinates add up.
    both = np.concatenate([known, -known], axis=1)
    twice = improbability(both, np.array([[-4.0, 4.0]]))
    np.testing.assert_allclose(twice, 2 * found[1])


def test_latent_density_compares_latents_held_to_labels_with_held_out_ones() -> None:
    detector = Detector(title="D", method="latent_density", network="cae")
    held = [1e6] * 30
    table = score_table(held, [0.0, 0.0], [0.0, 0.0, 0.0, 0.0])
    part, index = np.array(table["part"]), np.array(table["index"])
    # Exponential latents: only the large ones are improbable.
    latent = np.full(len(table), 0.5)
    latent[part == "holdout"] = -np.log(np.linspace(0.02, 0.98, 30))
    latent[(part == "validation") & (np.array(table["dataset"]) == "val")] = 50.0
    latent[(part == "test") & (np.array(table["dataset"]) == "ic")] = 60.0
    table["latent_kT"] = latent
    with pytest.raises(IcflowError, match="held to no labels"):
        detectors.detect("d", detector, material({"cae": [table]}))
    table["label_kT"] = np.nan
    table["latent_1"] = 1e9 * index  # a free latent does not count
    verdict = detectors.detect("d", detector, material({"cae": [table]}))
    assert verdict.decision.tolist() == [False, False, True, True]
    few = table[~((part == "holdout") & (index >= 25))]
    with pytest.raises(IcflowError, match=r"15 spectra were held out, and 20 are the fewest"):
        detectors.detect("d", detector, material({"cae": [few]}))

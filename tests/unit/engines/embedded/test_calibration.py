"""Wrong calibration, against spectra that are folded anew with the wrong area or energy scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from icflow.config import Instrument, Systematics
from icflow.engines.embedded.calibration import Calibration, area_basis
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.fake import Simulator
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.models.photons import term_photons

AREA = {"area": [[3.0, 0.02], [10.0, 0.02], [40.0, 0.05], [79.0, 0.1]]}
GAIN = {"gain": {"slope": 0.001, "offset": 60.0}}
HOT = {"TBabs.nH": 0.00858, "apec.kT": 6.0, "apec.Abundanc": 0.3, "apec.Redshift": 0.05}
SOURCES = {
    "tbabs*apec": HOT,
    "tbabs*powerlaw": {"TBabs.nH": 0.00858, "powerlaw.PhoIndex": 2.0},
    "gaussian": {"gaussian.LineE": 6.7, "gaussian.Sigma": 0.01},
}


def calibration(engine: EmbeddedEngine, given: dict[str, Any]) -> Calibration:
    return Calibration("", Systematics.model_validate(given), engine.foldings[0].response)


@pytest.mark.parametrize("expression", ["tbabs*apec", "tbabs*powerlaw"])
def test_a_wrong_area_is_as_if_folded_with_it(engine: EmbeddedEngine, expression: str) -> None:
    """What is wrong by some per cent is right to a thirtieth of that."""
    response = engine.foldings[0].response
    errors = {"area.3": 0.03, "area.10": -0.02, "area.40": 0.06, "area.79": -0.15}
    photons = term_photons(parse(expression).terms[0], SOURCES[expression], response.energies)
    centres = np.sqrt(response.energies[1:] * response.energies[:-1])
    wrong = np.exp(area_basis(AREA["area"], centres) @ np.array(list(errors.values())))
    exact = response.fold(photons, response.area * wrong)
    factor = calibration(engine, AREA).area_factor(errors)
    assert factor is not None
    right = response.fold(photons)
    seen = right > 1e-5 * right.max()
    assert np.abs(exact[seen] / right[seen] - 1).max() > 0.05
    most = 2e-3 if "apec" in expression else 2e-4
    assert np.abs(factor[seen] * right[seen] / exact[seen] - 1).max() < most


@pytest.mark.parametrize(
    "area",
    [
        AREA["area"],
        [[3.0, 0.02], [10.0, 0.02], [40.0, 0.02], [60.0, 0.06], [79.0, 0.1]],
        [[3.0, 0.02], [40.0, 0.02], [60.0, 0.06], [79.0, 0.1]],
    ],
)
def test_the_area_scatters_as_its_nodes_say_between_them_too(area: list[list[float]]) -> None:
    nodes, scatter = np.array(area).T
    np.testing.assert_allclose(area_basis(area, nodes), np.eye(len(nodes)), atol=1e-12)
    energies = np.geomspace(2.0, 90.0, 300)
    found = np.linalg.norm(area_basis(area, energies) * scatter, axis=1)
    told = np.interp(np.log(energies), np.log(nodes), scatter)
    np.testing.assert_allclose(found, told, rtol=1e-9)


def test_a_node_that_is_known_moves_nothing() -> None:
    basis = area_basis([[3.0, 0.0], [10.0, 0.02], [79.0, 0.1]], np.array([3.0, 5.0, 10.0]))
    np.testing.assert_array_equal(basis[:, 0], 0.0)
    assert np.isfinite(basis).all() and basis[2, 1] == pytest.approx(1.0)


@pytest.mark.parametrize(("slope", "offset"), [(0.0, 0.06), (0.002, -0.1), (-0.003, 0.0)])
def test_a_wrong_energy_scale_is_as_if_channels_had_other_edges(
    engine: EmbeddedEngine, slope: float, offset: float
) -> None:
    """A continuum and a line as blurred as NuSTAR's, whose counts between edges are known."""
    rmf = engine.foldings[0].response.rmf
    edges = np.append(rmf.e_min, rmf.e_max[-1])

    def below(energies: np.ndarray) -> np.ndarray:
        return 1e6 * (1 - np.exp(-energies / 5.0)) + 1e4 * ndtr((energies - 6.7) / 0.17)

    right, exact = np.diff(below(edges)), np.diff(below((edges - offset) / (1 + slope)))
    found = calibration(engine, GAIN).recorded(right, {"gain.slope": slope, "gain.offset": offset})
    inside = (edges[1:] > 3) & (edges[1:] < 50)
    assert np.abs(right[inside] / exact[inside] - 1).max() > 0.01
    np.testing.assert_allclose(found[inside], exact[inside], rtol=2e-4)


def test_a_line_moves_by_the_offset(engine: EmbeddedEngine) -> None:
    response = engine.foldings[0].response
    (term,) = parse("gaussian").terms
    right = response.fold(term_photons(term, SOURCES["gaussian"], response.energies))
    centres = 0.5 * (response.rmf.e_min + response.rmf.e_max)
    found = calibration(engine, GAIN).recorded(right, {"gain.slope": 0.0, "gain.offset": 0.06})
    near = (centres > 5.5) & (centres < 8)
    shift = np.average(centres[near], weights=found[near])
    shift -= np.average(centres[near], weights=right[near])
    assert shift == pytest.approx(0.06, rel=0.02)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"area": [[0.1, 0.1], [80.0, 0.1]]}, r"node at 0\.1 keV, outside of its response"),
        ({"area": [[3.0, 0.1], [800.0, 0.1]]}, r"node at 800 keV, outside"),
        ({"gain": {"offset": 500.0}}, r"moves energies by up to 2\.5 keV at 1\.6.*out of the chan"),
    ],
)
def test_refuses(engine: EmbeddedEngine, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(IcflowError, match=reason):
        calibration(engine, given)


@pytest.fixture(scope="module")
def wrong(engine: EmbeddedEngine, instrument: Instrument) -> EmbeddedEngine:
    systematics = Systematics.model_validate(AREA | GAIN | {"background": {"lines": 0.1}})
    return EmbeddedEngine(
        [instrument.model_copy(update={"systematics": systematics})], engine.atomic_data
    )


def test_spectra_are_drawn_with_what_is_wrong(wrong: EmbeddedEngine) -> None:
    parameters = {**HOT, "apec.norm": 0.1}
    counts, truth = wrong.fake("tbabs*apec", parameters, 1, "set", range(20))
    names = {"area.3", "area.10", "area.40", "area.79", "gain.slope", "gain.offset"}
    assert set(truth) - set(parameters) == names | {"background.lines"}
    again, _ = wrong.fake("tbabs*apec", parameters, 1, "set", [17])
    np.testing.assert_array_equal(again[0], counts[17])


def test_the_area_is_that_of_source_and_focused_background(wrong: EmbeddedEngine) -> None:
    (folding,) = wrong.foldings
    values = {**HOT, "apec.norm": 0.1, "background.lines": 1.2, "gain.slope": 0, "gain.offset": 0}
    errors = {"area.3": 0.03, "area.10": -0.02, "area.40": 0.06, "area.79": -0.15}
    simulator = Simulator(folding, parse("tbabs*apec").terms, values, wrong.atomic_data)
    factor = simulator.calibration.area_factor(errors)
    parts = folding.backgrounds
    optics = simulator.expected(values) + parts["focused"]
    rest = parts["continuum"] + parts["aperture"] + 1.2 * parts["lines"]
    found = simulator.observed(values | errors)
    np.testing.assert_allclose(found, factor * optics + rest, rtol=1e-9, atol=1e-9)


def test_a_corrected_engine_expects_what_is_seen(wrong: EmbeddedEngine) -> None:
    deviates = dict.fromkeys(wrong.deviates, 0.7) | {"area.10": -1.5, "gain.offset": -0.9}
    terms = "tbabs*apec+powerlaw+gaussian"
    fixed = HOT | SOURCES["gaussian"] | {"powerlaw.PhoIndex": 2.0}
    values = {**fixed, "apec.norm": 0.1, "powerlaw.norm": 1e-3, "gaussian.norm": 1e-5}
    backgrounds = {f"background.{name}": 1.0 for name in wrong.backgrounds}
    (seen,) = wrong.observed(terms, values, [values | backgrounds], [deviates])
    corrected = wrong.corrected(deviates)
    np.testing.assert_allclose(corrected.predict(terms, values), seen, rtol=1e-9, atol=1e-9)
    assert np.abs(wrong.predict(terms, values) / seen - 1).max() > 0.05
    # Nothing is left that may be wrong, and nothing has changed where it was made.
    assert corrected.deviates == [] and wrong.deviates == list(deviates)
    right = wrong.corrected(dict.fromkeys(deviates, 0.0)).predict(terms, values)
    (mean,) = wrong.observed(terms, values, [values | backgrounds], [dict.fromkeys(deviates, 0.0)])
    np.testing.assert_allclose(right, mean, rtol=1e-9, atol=1e-9)

"""Folded tables: curves as dense as they must be, plasmas at any redshift, the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from icflow.config import AtomicData
from icflow.engines.embedded import folded
from icflow.engines.embedded.correction import Correction
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.folding import Corrected
from icflow.models.expression import parse
from icflow.typing import Floats


def test_a_smooth_curve_is_tabulated_to_its_tolerance() -> None:
    x = np.linspace(1, 10, 30)
    table = folded.sampled(lambda indices: x ** -np.array(indices)[:, None], 1.0, 3.0)
    assert table is not None and table.first == 1.0
    assert len(table.nodes) in folded.CURVE_NODES
    assert table.first + table.step * (len(table.nodes) - 1) == pytest.approx(3.0)
    np.testing.assert_allclose(table.nodes[-1], x**-3.0, rtol=1e-12)


def test_the_index_of_a_power_law_has_a_table_between_the_limits_of_xspec() -> None:
    x = np.geomspace(3, 79, 30)
    table = folded.sampled(lambda indices: x ** -np.array(indices)[:, None], -3.0, 10.0)
    assert table is not None


def test_what_is_not_smooth_has_no_table() -> None:
    x = np.linspace(1, 10, 30)

    def waves(phases: Sequence[float]) -> Floats:
        return 2 + np.sin(1e4 * np.outer(phases, x))

    assert folded.sampled(waves, 2.0, 7.0) is None


def test_no_value_is_asked_for_twice_or_beside_too_many() -> None:
    x, asked = np.linspace(1, 10, 30), []

    def rates(indices: Sequence[float]) -> Floats:
        assert len(indices) <= folded.TOGETHER
        asked.extend(indices)
        return x ** -np.array(indices)[:, None]

    assert folded.sampled(rates, 1.0, 3.0) is not None
    assert len(asked) == len(set(asked)) > folded.TOGETHER


@pytest.fixture(scope="module")
def table(engine: EmbeddedEngine, atomdb: Path) -> folded.PlasmaTable:
    (term,) = parse("tbabs*apec").terms
    return folded.plasma_table(
        term,
        {"TBabs.nH": 0.01},
        engine.foldings[0].response,
        AtomicData(folder=str(atomdb)),
        (3.0, 6.0),
        (0.03, 0.06),
    )


@pytest.mark.parametrize("redshift", [0.0301, 0.0437, 0.06])
def test_a_plasma_is_that_of_the_model_functions(
    engine: EmbeddedEngine, table: folded.PlasmaTable, redshift: float
) -> None:
    (term,) = parse("tbabs*apec").terms
    rates = table.at(redshift)
    for node in (0, len(table.temperatures) - 1):
        values = {"TBabs.nH": 0.01, "apec.kT": float(table.temperatures[node])}
        values |= {"apec.Abundanc": 0.7, "apec.Redshift": redshift}
        exact = engine.foldings[0].fold(term, values) / engine.foldings[0].exposure
        big = exact > 1e-7 * exact.max()
        mixed = rates[node, 0] + 0.7 * rates[node, 1]
        assert np.abs(mixed[big] / exact[big] - 1).max() < 1e-5


def test_a_run_of_channels_is_cut_out(table: folded.PlasmaTable) -> None:
    part = table.cut(slice(50, 400))
    np.testing.assert_allclose(part.at(0.05), table.at(0.05)[..., 50:400], rtol=1e-9)


def test_a_corrected_table_is_that_of_the_corrected_response(
    engine: EmbeddedEngine, table: folded.PlasmaTable, atomdb: Path
) -> None:
    nominal = engine.foldings[0].response
    n = np.arange(nominal.n_channels + 1.0)
    correction = Correction(1 + 0.1 * np.sin(n[:-1] / 300), n + 1.3 + n / 4000)
    response, (term,) = Corrected(nominal, correction), parse("tbabs*apec").terms
    values, atomic_data = {"TBabs.nH": 0.01}, AtomicData(folder=str(atomdb))
    ranges, part = ((3.0, 6.0), (0.03, 0.06)), slice(50, 400)
    made = folded.plasma_table(term, values, response, atomic_data, *ranges, part)
    exact = correction(table.at(0.0437))[..., part]
    np.testing.assert_allclose(made.at(0.0437), exact, rtol=1e-6)
    # Lines reach no more channels than they must: the last ones are as good as empty.
    assert made.kernel.shape[1] <= table.cut(part).kernel.shape[1] + correction.farthest
    again = folded.plasma_table(term, values, response, atomic_data, *ranges, part)
    assert again.smooth is made.smooth
    photons = np.linspace(1.0, 2.0, len(nominal.energies) - 1)
    whole = correction(nominal.fold(photons))
    np.testing.assert_array_equal(response.fold(photons, channels=part), whole[part])
    np.testing.assert_allclose(
        (photons * nominal.area) @ response.dense, whole, rtol=1e-6, atol=1e-9
    )
    np.testing.assert_array_equal(response.reach, correction(nominal.reach))
    assert response.key != nominal.key
    assert np.array_equal(response.coarse_bins(part), nominal.coarse_bins(part))


def test_compiled_and_plain_rates_agree(table: folded.PlasmaTable) -> None:
    part = table.cut(slice(50, 60))
    photons = folded.photons_at(part, 0.05, (0, len(part.temperatures)))
    few = part._replace(energies=part.energies[:40], kernel=part.kernel[:39])
    plain = folded.photons_at.py_func(few, 0.05, (1, 3))
    np.testing.assert_allclose(plain, photons[:39, 2:6], rtol=1e-12)


def test_nodes_that_are_not_chosen_are_left_alone(table: folded.PlasmaTable) -> None:
    rates, chosen = table.at(0.05), np.array([1, 3])
    counts = np.full(rates.shape, -1.0)
    folded.fill_exact(table, 0.05, chosen, 2.0, counts)
    np.testing.assert_allclose(counts[chosen], 2 * rates[chosen], rtol=1e-12)
    assert np.all(np.delete(counts, chosen, axis=0) == -1)


def test_lines_are_counted_up_to_the_edges_of_bins(table: folded.PlasmaTable) -> None:
    few = table._replace(energies=table.energies[5:200])
    wanted = np.searchsorted(table.line_energy / 1.05, few.energies, side="left")
    assert wanted[0] > 0 and wanted[-1] < len(table.line_energy)
    assert np.array_equal(folded._lines_below(few, 1.05), wanted)
    sums = np.diff(table.line_sums, axis=0)
    np.testing.assert_allclose(sums, table.line_photons, atol=1e-14 * table.line_sums[-1].max())


def test_a_mix_at_several_redshifts_is_that_of_its_temperatures(table: folded.PlasmaTable) -> None:
    amounts = np.zeros((len(table.temperatures), 2))
    amounts[1], amounts[3] = [2.0, 0.5], [1.0, 0.0]
    redshifts = np.array([0.0301, 0.0302, 0.06])
    models = np.zeros((3, table.smooth.shape[-1] + 7))
    folded.add_mix(table, amounts, redshifts, 7, models)
    assert not models[:, :7].any()
    for redshift, model in zip(redshifts, models[:, 7:], strict=True):
        wanted = np.einsum("tp,tpc->c", amounts, table.at(redshift))
        np.testing.assert_allclose(model, wanted, rtol=1e-9)

"""Evidences of spectra: calibrated odds, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from icflow import config
from icflow.config import AtomicData, Instrument, Module, Scenario, Systematics
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.population import bins_of
from icflow.engines.evidence.integral import background_reach
from icflow.errors import IcflowError
from icflow.models.priors import SHAPES, LogUniform, Prior, Uniform
from icflow.sections import Interval
from icflow.seeds import of_spectrum
from icflow.statistic import channels, statistic
from icflow.typing import Floats


@pytest.fixture(scope="module")
def instrument(root: Path, rmf_path: Path, arf_path: Path) -> Instrument:
    background = str(root / "resources/background/nustar_fpma.yaml")
    return Instrument(rmf=str(rmf_path), arf=str(arf_path), exposure=1e4, background=background)


@pytest.fixture(scope="module")
def engine(instrument: Instrument, atomdb: Path) -> EmbeddedEngine:
    return EmbeddedEngine([instrument], AtomicData(folder=str(atomdb)))


def scenarios(low: float, high: float) -> dict[str, Scenario]:
    """Two classes that differ in shape, and in how bright they are."""
    index = Uniform(uniform=[1.6, 2.4])
    return {
        "steep": Scenario(
            expression="powerlaw",
            parameters={"powerlaw.PhoIndex": index, "powerlaw.norm": Uniform(uniform=[low, high])},
        ),
        "curved": Scenario(
            expression="tbabs*powerlaw",
            parameters={
                "TBabs.nH": 8.0,
                "powerlaw.PhoIndex": index,
                "powerlaw.norm": LogUniform(log_uniform=[low, high]),
            },
        ),
    }


def test_a_shape_of_which_only_quantiles_are_given_is_integrated_over(
    engine: EmbeddedEngine,
) -> None:
    """It is sampled in its own unit cube, never taken for uniform."""

    class Steps(Prior):
        form = "[low, high]"
        steps: Interval

        @property
        def bounds(self) -> tuple[float, float]:
            return LogUniform(log_uniform=self.steps).bounds

        def quantile(self, probability: float | Floats) -> Floats:
            return LogUniform(log_uniform=self.steps).quantile(probability)

    del SHAPES["steps"]
    shapes = {
        "known": LogUniform(log_uniform=[1e-4, 1e-2]),
        "generic": Steps(steps=[1e-4, 1e-2]),
        "flat": Uniform(uniform=[1e-4, 1e-2]),
    }
    evidence = {}
    for name, shape in shapes.items():
        parameters = {"powerlaw.PhoIndex": Uniform(uniform=[1.6, 2.4]), "powerlaw.norm": shape}
        scenario = Scenario.model_construct(expression="powerlaw", parameters=parameters)
        counts, truth = engine.fake("powerlaw", {"powerlaw.norm": 1e-3}, 1, "set", range(1))
        random = [of_spectrum(1, "set", 0, "integral")]
        (integral,) = engine.integrate(scenario, [3.0, 80.0], counts, truth, [], random)
        evidence[name] = integral.log
    assert evidence["generic"] == pytest.approx(evidence["known"], abs=0.02)
    assert abs(evidence["flat"] - evidence["known"]) > 0.3


# Sources as bright as the background do not notice its scatter; fainter ones are overrun by it.
@pytest.mark.parametrize(
    ("scatter", "exposure", "norms", "n"),
    [(0.0, 1e4, (5e-4, 3e-3), 250), (0.1, 1e5, (1e-4, 6e-4), 160)],
    ids=["known", "scattering"],
)
def test_odds_are_probabilities_if_the_priors_are_right(
    instrument: Instrument,
    atomdb: Path,
    scatter: float,
    exposure: float,
    norms: tuple[float, float],
    n: int,
) -> None:
    """Spectra and priors have the same scatter of the background norms."""
    own = instrument.model_copy(
        update={"systematics": Systematics(background=scatter), "exposure": exposure}
    )
    engine = EmbeddedEngine([own], AtomicData(folder=str(atomdb)))
    classes = scenarios(*norms)
    odds, is_curved = [], np.repeat([False, True], n)
    for name, drawn in classes.items():
        counts, truth = engine.fake(drawn.expression, drawn.parameters, 1, name, range(n))
        logs = {
            other: np.array(
                [
                    one.log
                    for one in engine.integrate(
                        scenario,
                        [3.0, 80.0],
                        counts,
                        truth,
                        [],
                        (of_spectrum(1, name, i, other) for i in range(n)),
                    )
                ]
            )
            for other, scenario in classes.items()
        }
        odds.append(logs["curved"] - logs["steep"])
    p = 1 / (1 + np.exp(-np.concatenate(odds)))
    # The classes overlap, or this would be no test.
    assert 0.05 < np.mean(p * (1 - p)) < 0.24
    for low, high in ((0.0, 1.0), (0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        here = (p >= low) & (p <= high)
        spread = math.sqrt(np.sum(p[here] * (1 - p[here])))
        assert here.sum() > 40
        assert abs(np.sum(is_curved[here] - p[here])) < 3 * spread
    # And no worse than they promise: the Brier score is the one that calibration implies.
    assert np.mean((is_curved - p) ** 2) == pytest.approx(np.mean(p * (1 - p)), abs=0.02)


def test_a_spectrum_without_counts_has_an_evidence(engine: EmbeddedEngine) -> None:
    counts = np.zeros((1, engine.n_channels), dtype=np.int64)
    fixed = Scenario(
        expression="powerlaw",
        parameters={"powerlaw.PhoIndex": 2.0, "powerlaw.norm": Uniform(uniform=[0.0, 1e-3])},
    )
    (found,) = engine.integrate(fixed, [3.0, 80.0], counts, {}, [], [np.random.default_rng(0)])
    # C is twice the expected counts, so the likelihood is an exponential.
    rmf = engine.foldings[0].response.rmf
    inside = (rmf.e_min > 2.999) & (rmf.e_max < 79.99)
    dark = float(sum(engine.backgrounds.values())[inside].sum())
    bright = engine.predict("powerlaw", {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": 1e-3})
    rise = float(bright[inside].sum()) - dark
    assert found.log == pytest.approx(-dark + math.log(-math.expm1(-rise) / rise), abs=1e-3)
    steep = scenarios(5e-4, 3e-3)["steep"]
    (found,) = engine.integrate(steep, [3.0, 80.0], counts, {}, [], [np.random.default_rng(0)])
    assert found.effective >= 300


def test_terms_without_tables_are_refused(engine: EmbeddedEngine) -> None:
    wild = Scenario(
        expression="tbabs*powerlaw",
        parameters={
            "TBabs.nH": Uniform(uniform=[1.0, 5.0]),
            "powerlaw.PhoIndex": Uniform(uniform=[1.0, 3.0]),
            "powerlaw.norm": Uniform(uniform=[0.01, 0.1]),
        },
    )
    with pytest.raises(IcflowError, match="no table holds"):
        engine.integrator(wild, [3.0, 80.0], [])


def test_unknown_redshifts_are_refused(engine: EmbeddedEngine, root: Path) -> None:
    scenario = config.load(root / "config.yaml").scenarios["1T+IC"]
    with pytest.raises(IcflowError, match=r"redshift with a prior.*at_truth"):
        engine.integrator(scenario, [3.0, 80.0], [])


def test_what_is_known_of_a_term_needs_no_table(engine: EmbeddedEngine) -> None:
    drawn = {
        "TBabs.nH": Uniform(uniform=[1.0, 5.0]),
        "powerlaw.PhoIndex": Uniform(uniform=[1.6, 2.4]),
        "powerlaw.norm": Uniform(uniform=[5e-4, 3e-3]),
    }
    unknown = Scenario(expression="tbabs*powerlaw", parameters=drawn)
    fixed = {"TBabs.nH": 3.0, "powerlaw.PhoIndex": 2.0}
    known = Scenario(expression="tbabs*powerlaw", parameters=drawn | fixed)
    counts, _ = engine.fake("tbabs*powerlaw", known.parameters, 1, "known", [0])
    truth = {name: np.array([value]) for name, value in fixed.items()}
    logs = [
        next(
            iter(
                engine.integrate(
                    scenario, [3.0, 80.0], counts, truth, at_truth, [np.random.default_rng(1)]
                )
            )
        ).log
        for scenario, at_truth in ((unknown, list(fixed)), (known, []))
    ]
    assert logs[0] == pytest.approx(logs[1], abs=1e-6)


def test_the_factor_of_a_module_is_integrated_over_its_prior(
    instrument: Instrument, atomdb: Path
) -> None:
    files = {name: getattr(instrument, name) for name in ("rmf", "arf", "background", "exposure")}
    scenario = scenarios(5e-4, 3e-3)["steep"]
    logs = []
    for factor in (1.0, Uniform(uniform=[0.999, 1.001]), Uniform(uniform=[0.8, 1.25])):
        modules = [
            Module(name="A", **files),
            Module(name="B", cross_normalisation=factor, **files),
        ]
        pair = EmbeddedEngine(modules, AtomicData(folder=str(atomdb)))
        if not logs:
            counts, _ = pair.fake(scenario.expression, scenario.parameters, 1, "pair", [0])
        (integral,) = pair.integrate(
            scenario, [3.0, 80.0], counts, {}, [], [np.random.default_rng(2)]
        )
        logs.append(integral.log)
    # A factor that is as good as known costs nothing; a vague one does.
    assert logs[1] == pytest.approx(logs[0], abs=0.2)
    assert -4 < logs[2] - logs[0] < 1


def seen_by_two(instrument: Instrument, atomdb: Path, *scatters: float) -> EmbeddedEngine:
    """Return two modules alike whose focused backgrounds scatter."""
    files = {name: getattr(instrument, name) for name in ("rmf", "arf", "background")}
    modules = [
        Module(name=name, exposure=1e5, systematics=Systematics(background={"focused": s}), **files)
        for name, s in zip("AB", scatters, strict=True)
    ]
    return EmbeddedEngine(modules, AtomicData(folder=str(atomdb)))


def test_the_sky_behind_two_modules_has_one_norm(instrument: Instrument, atomdb: Path) -> None:
    """The evidence is a sum over a grid of the norms of source and sky."""
    pair, scatter, most = seen_by_two(instrument, atomdb, 0.3, 0.3), 0.3, 1e-4
    index, energies = {"powerlaw.PhoIndex": 2.0}, [3.0, 20.0]
    dark = np.sum(list(pair.backgrounds.values()), axis=0)
    source = pair.predict("powerlaw", {**index, "powerlaw.norm": most}) - dark
    sky = np.sum([pair.backgrounds[f"{name}.focused"] for name in "AB"], axis=0)
    counts = np.random.default_rng(1).poisson(dark + 0.5 * source + 0.5 * sky)[None]
    norm = Uniform(uniform=[0.0, most])
    scenario = Scenario(expression="powerlaw", parameters={**index, "powerlaw.norm": norm})
    random = np.random.default_rng(2)
    (found,) = pair.integrate(scenario, energies, counts, {}, [], [random])

    sources, skies = np.linspace(0.0, 1.0, 201), np.linspace(-5.0, 5.0, 201)
    prior = -(skies**2) / 2 - np.log(np.sum(np.exp(-(skies**2) / 2)))
    selection = pair.selection(energies)
    starts, _ = bins_of(selection)

    def binned(spectrum: Floats) -> list[Floats]:
        """Return the bins of each module."""
        return np.split(np.add.reduceat(spectrum[selection.channels], starts), 2)

    logs = []
    for seen, *parts in zip(*map(binned, (1.0 * counts[0], dark, source, sky)), strict=True):
        expected = (
            parts[0] + sources[:, None, None] * parts[1] + scatter * skies[:, None] * parts[2]
        )
        data = channels(seen)
        logs.append([[-statistic(data, row) / 2 for row in rows] for rows in expected])
    together = np.logaddexp.reduce(np.sum(logs, axis=0) + prior, axis=1)
    apart = np.sum(np.logaddexp.reduce(np.array(logs) + prior, axis=2), axis=0)
    total, wrong = (np.logaddexp.reduce(each) - np.log(len(sources)) for each in (together, apart))
    assert found.log == pytest.approx(total, abs=0.005)
    assert abs(wrong - total) > 1.0


def test_fits_to_the_minima_let_no_norm_turn_negative() -> None:
    assert background_reach(0.1) == pytest.approx(0.3)
    assert background_reach(0.5) == 0.9


def test_modules_whose_skies_scatter_differently_are_refused(
    instrument: Instrument, atomdb: Path
) -> None:
    pair = seen_by_two(instrument, atomdb, 0.3, 0.2)
    scenario = scenarios(5e-4, 3e-3)["steep"]
    with pytest.raises(IcflowError, match=r"A.focused scatters by 0.3 and .*B.focused by 0.2"):
        pair.integrator(scenario, [3.0, 80.0], [])

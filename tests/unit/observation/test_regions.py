"""Source-free regions: norms, their errors, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.sparse import csr_array

from icflow.engines.embedded.folding import Response, fold_background
from icflow.errors import IcflowError
from icflow.models.background import BackgroundComponent
from icflow.models.expression import parse
from icflow.observation import regions as module
from icflow.observation.regions import Region, fit_norms, scaled
from icflow.ogip.response import Rmf
from icflow.ogip.spectrum import Spectrum

N = 60
EDGES = np.linspace(1.0, 31.0, N + 1)


@pytest.fixture(scope="module")
def response() -> Response:
    """Channels are energy bins."""
    matrix = csr_array(np.eye(N))
    return Response(Rmf(EDGES[:-1], EDGES[1:], matrix, np.arange(N), EDGES[:-1], EDGES[1:]), None)


def component(
    name: str,
    index: float,
    norm: float,
    *lines: tuple[float, float],
    detectors: tuple[float, ...] = (),
) -> BackgroundComponent:
    """Return a power law with Lorentzian lines (energy, norm)."""
    expression = parse("+".join(["powerlaw", *["lorentz"] * len(lines)]))
    values = {"powerlaw.PhoIndex": index, "powerlaw.norm": norm}
    for part, (energy, strength) in zip(expression.components[1:], lines, strict=True):
        given = (energy, 0.3, strength)
        values |= dict(zip(part.parameters, given, strict=True))
    return BackgroundComponent(name, expression, values, "source", None, detectors=detectors)


FLAT = component("flat", 0.0, 1e-3, (8.0, 2e-3), (20.0, 3e-3))
STEEP = component("steep", 1.5, 5e-2)


def spectrum(counts: np.ndarray, path: str = "a.pha", **more: object) -> Spectrum:
    given = {"exposure": 1e4, "instrument": "A", "path": path, **more}
    return Spectrum(channel=np.arange(N), counts=counts, **given)  # type: ignore[arg-type]


def region(
    response: Response,
    truth: dict[str, float],
    random: np.random.Generator,
    share: float = 1.0,
    name: str = "A",
) -> Region:
    """Draw a spectrum of components with norms that are factors of those given."""
    rate = sum(truth[part.name] * fold_background(part, response) for part in (FLAT, STEEP))
    counts = random.poisson(rate * 1e4 * share)
    shares = {"flat": share, "steep": share}
    return Region(spectrum(counts, instrument=name), name, response, shares)


def factor(result: BackgroundComponent, given: BackgroundComponent) -> float:
    return result.values["powerlaw.norm"] / given.values["powerlaw.norm"]


def test_norms_are_those_of_the_lowest_c(response: Response) -> None:
    random = np.random.default_rng(5)
    members = [region(response, {"flat": 1.2, "steep": 0.7}, random, s) for s in (0.4, 1.0)]
    fitted = fit_norms(members, {"A": (FLAT, STEEP)}, [3.0, 30.0], False)
    rows = np.array([fold_background(part, response) for part in (FLAT, STEEP)]) * 1e4
    noticed = (EDGES[:-1] >= 3) & (EDGES[1:] < 30)
    model_of = np.hstack([rows[:, noticed] * m.shares["flat"] for m in members])
    counts = np.hstack([m.spectrum.counts[noticed] for m in members])

    def half_c(x: np.ndarray) -> float:
        model = x @ model_of
        return float(np.sum(model - counts * np.log(model)))

    best = minimize(
        half_c, [1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-9}
    )
    results = [fitted.of("A", part) for part in (FLAT, STEEP)]
    factors = [factor(r, p) for r, p in zip(results, (FLAT, STEEP), strict=True)]
    assert factors == pytest.approx(best.x.tolist(), rel=1e-4)
    model = best.x @ model_of
    sigmas = np.sqrt(np.diag(np.linalg.inv((model_of * counts / model**2) @ model_of.T)))
    # Ranges are written with three digits.
    ranges = [result.range for result in results]
    assert ranges == pytest.approx((1.6449 * sigmas / best.x).tolist(), rel=5e-3)
    assert fitted.counts("A", FLAT) == pytest.approx(best.x[0] * model_of[0].sum(), rel=1e-4)


def test_modules_have_norms_of_their_own(response: Response) -> None:
    random = np.random.default_rng(6)
    members = [
        region(response, {"flat": 0.5, "steep": 1.0}, random, name="A"),
        region(response, {"flat": 2.0, "steep": 1.0}, random, name="B"),
    ]
    fitted = fit_norms(members, {"A": (FLAT, STEEP), "B": (FLAT, STEEP)}, [1.0, 31.0], False)
    for name, truth in (("A", 0.5), ("B", 2.0)):
        result = fitted.of(name, FLAT)
        assert result.range is not None and result.range < 0.25
        assert truth / factor(result, FLAT) == pytest.approx(1.0, abs=2 * result.range)
    for number in range(2):
        _, sigmas, channels = fitted.goodness(number)
        assert abs(sigmas) < 4 and channels == N - 1


def test_every_model_may_have_a_norm(response: Response) -> None:
    strong = component("flat", 0.0, 1e-3, (8.0, 6e-3), (20.0, 1e-3))
    counts = np.random.default_rng(7).poisson(fold_background(strong, response) * 1e5)
    own = Region(spectrum(counts, exposure=1e5), "A", response, {"flat": 1.0})
    result = fit_norms([own], {"A": (FLAT,)}, [1.0, 31.0], True).of("A", FLAT)
    for name in ("powerlaw.norm", "lorentz.norm", "lorentz_3.norm"):
        assert result.values[name] == pytest.approx(strong.values[name], rel=0.1)
    # With one component the counts are as well known as their number.
    assert result.range == pytest.approx(1.6449 / np.sqrt(counts[:-1].sum()), rel=0.05)
    none = component("flat", 0.0, 1e-3, (8.0, 0.0), (20.0, 1e-3))
    result = fit_norms([own], {"A": (none,)}, [1.0, 31.0], True).of("A", none)
    assert result.values["lorentz.norm"] == 0.0


def test_a_component_that_is_not_there_may_be_up_to_its_limit(response: Response) -> None:
    empty = fold_background(STEEP, response) * 1e4
    # Fewer counts than the steep component alone where the flat one would add some.
    counts = np.round(np.where(EDGES[:-1] > 10, 0.9, 1.0) * empty).astype(int)
    own = Region(spectrum(counts), "A", response, {"flat": 1.0, "steep": 1.0})
    fitted = fit_norms([own], {"A": (FLAT, STEEP)}, [1.0, 31.0], False)
    assert fitted.minimum.theta[0] == 0.0
    result = fitted.of("A", FLAT)
    assert result.range == 1.0
    limit = 2 * factor(result, FLAT)
    rows = np.array([fold_background(part, response) for part in (FLAT, STEEP)])[:, :-1] * 1e4
    seen = counts[:-1]

    def c(flat: float, steep: float) -> float:
        model = flat * rows[0] + steep * rows[1]
        return float(2 * np.sum(model - seen * np.log(model)))

    lowest = min(c(0.0, s) for s in np.linspace(0.9, 1.0, 2001))
    there = min(c(limit, s) for s in np.linspace(0.8, 1.0, 4001))
    assert there - lowest == pytest.approx(2.7055, rel=0.05)


def test_ranges_hold_the_truth_nine_times_in_ten(response: Response) -> None:
    random, inside = np.random.default_rng(8), []
    for _ in range(300):
        own = region(response, {"flat": 1.0, "steep": 1.0}, random, 0.3)
        fitted = fit_norms([own], {"A": (FLAT, STEEP)}, [1.0, 31.0], False)
        for part in (FLAT, STEEP):
            result = fitted.of("A", part)
            low, high = result.limits(0.0)
            inside.append(low <= 1 / factor(result, part) <= high)
    assert 0.87 < np.mean(inside) < 0.93


def test_bad_channels_are_left_out(response: Response) -> None:
    own = region(response, {"flat": 1.0, "steep": 1.0}, np.random.default_rng(9))
    counts, quality = own.spectrum.counts.copy(), np.zeros(N, dtype=np.int64)
    counts[30], quality[30] = 100_000, 5
    bad = Region(spectrum(counts, quality=quality), "A", response, own.shares)
    fitted = fit_norms([bad], {"A": (FLAT, STEEP)}, [1.0, 31.0], False)
    assert len(fitted.data.counts) == N - 2
    assert factor(fitted.of("A", FLAT), FLAT) == pytest.approx(1.0, rel=0.2)


def test_a_fit_without_counts_or_end_is_refused(
    response: Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = Region(spectrum(np.zeros(N, dtype=int)), "A", response, {"flat": 1.0, "steep": 1.0})
    with pytest.raises(IcflowError, match=r"a\.pha: has no counts between 3 and 30 keV"):
        fit_norms([empty], {"A": (FLAT, STEEP)}, [3.0, 30.0], False)
    monkeypatch.setattr(module, "MOST_ITERATIONS", 1)
    own = region(response, {"flat": 3.0, "steep": 0.2}, np.random.default_rng(4))
    with pytest.raises(IcflowError, match="does not converge"):
        fit_norms([own], {"A": (FLAT, STEEP)}, [3.0, 30.0], False)


def test_all_norms_are_scaled() -> None:
    half = scaled(FLAT, 0.5)
    assert half.values["lorentz_3.norm"] == 1.5e-3
    assert half.values["lorentz_3.LineE"] == 20.0
    assert scaled(FLAT, 1 / 3).values["powerlaw.norm"] == 0.000333333

"""Estimates of likelihood ratios as files, and what they are given of spectra."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from icflow.errors import IcflowError
from icflow.networks.ratio import DrawnSpectra, RatioInputs, RatioNetwork, Sizes
from icflow.networks.ratio_weights import Hypotheses, digests, inputs_of, load, save
from icflow.networks.weights import load_tensors, save_tensors
from icflow.ogip.spectra import Recorded, SpectrumSet
from icflow.settings import RatioSettings

FIRST = np.array([0, 2])  # channels of the bins, the first of each: of 2 and of 3 channels
INSIDE = np.arange(1, 6)
MODEL = {"expression": "powerlaw", "parameters": {}}


@pytest.fixture
def settings(tmp_path: Path) -> RatioSettings:
    rmf = tmp_path / "a.rmf"
    rmf.write_bytes(b"the response")
    return RatioSettings.model_validate(
        {
            "seed": 1,
            "atomic_data": {},
            "modules": [{"rmf": str(rmf), "exposure": 1e4}],
            "energies": [3.0, 80.0],
            "name": "toy",
            "thermal": MODEL,
            "alternative": MODEL,
            "at_truth": ["apec.Redshift"],
            "spectra": 2000,
            "batch": 500,
            "units": 4,
            "layers": 2,
            "learning_rate": 3e-3,
        }
    )


class Population:
    """Spectra that hold the same counts in both bins, known to be at that number."""

    def __init__(self, counts: int) -> None:
        self.counts = counts
        self.selection = SimpleNamespace(channels=INSIDE, coarse_bins=lambda: FIRST)

    def draw(self, number: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return counts in bins, and what is known."""
        return np.full((number, 2), self.counts), np.full((number, 1), float(self.counts))


class Neighbourhood:
    """Fits that say how far the counts are from those expected."""

    def __init__(self, expected: float) -> None:
        self.expected = expected

    def fit(self, counts: np.ndarray, known: np.ndarray) -> Any:
        """Return numbers that can be told apart."""
        left = counts - self.expected
        cstat = (left**2).sum(axis=1)
        return SimpleNamespace(
            log_evidence=-cstat / 2,
            cstat=cstat,
            effective=10.0 * self.expected + np.zeros(len(counts)),
            gaussian=-cstat / 4,
            places=left[:, :1],
            widths=left[:, :1] + 100,
            slopes=left[:, :1] + 200,
            residuals=left,
        )


@pytest.fixture
def hypotheses(settings: RatioSettings) -> Hypotheses:
    """Spectra of 3 counts in each bin, or of 5 with IC."""
    made: Any = Hypotheses.__new__(Hypotheses)
    made.settings = settings
    made.populations = [Population(3), Population(5)]
    made._neighbourhoods = [Neighbourhood(3.0), Neighbourhood(5.0)]
    return made


# --- what a network is given ------------------------------------------------------


def test_bins_hold_the_counts_of_their_channels(hypotheses: Hypotheses) -> None:
    counts = np.array([[9, 1, 2, 3, 4, 5, 9], [9, 0, 0, 0, 0, 7, 9]])
    assert hypotheses.binned(counts).tolist() == [[1 + 2, 3 + 4 + 5], [0, 7]]
    # Bytes would not hold what bins do.
    full = np.full((1, 7), 200, dtype=np.uint8)
    assert hypotheses.binned(full).tolist() == [[400, 600]]


def test_inputs_are_differences_of_the_fits_and_the_fits_one_after_another(
    hypotheses: Hypotheses,
) -> None:
    known = np.array([[0.1]])
    inputs = hypotheses.inputs(np.array([[3, 4]]), known)
    # C of 1 without IC, of 4 + 1 with.
    assert inputs.rough == pytest.approx([-5 / 2 + 1 / 2])
    assert inputs.misfit == pytest.approx([1])
    thermal, ic = [1, 30, 0, 100, 200], [5, 50, -2, 98, 198]
    wanted = [-5 / 4 + 1 / 4, *thermal[:2], *ic[:2], *thermal[2:], *ic[2:]]
    np.testing.assert_allclose(inputs.fits, [wanted])
    np.testing.assert_allclose(inputs.residuals, [[0, 1, -2, -1]])
    assert inputs.known is known


@pytest.mark.parametrize(("number", "thermal"), [(6, 3), (7, 3)])
def test_half_of_what_is_drawn_is_of_each_hypothesis(
    hypotheses: Hypotheses, number: int, thermal: int
) -> None:
    drawn = hypotheses.draw(number, np.random.default_rng(1))
    assert drawn.is_ic.tolist() == [False] * thermal + [True] * (number - thermal)
    np.testing.assert_array_equal(drawn.inputs.known[:, 0], np.where(drawn.is_ic, 5, 3))
    # C of the other hypothesis is 2 × 2², of the own one 0.
    np.testing.assert_allclose(drawn.inputs.rough, np.where(drawn.is_ic, 4, -4))


def spectra(exposure: float, **truth: float) -> SpectrumSet:
    return SpectrumSet(
        counts=np.array([[9, 1, 2, 3, 4, 5, 9]], dtype=np.int32),
        index=np.arange(1),
        truth={name: np.array([value]) for name, value in truth.items()},
        modules=(Recorded(np.arange(7), exposure),),
        dataset="test",
        scenario="2T",
    )


def test_what_was_measured_is_known_rather_than_the_truth(hypotheses: Hypotheses) -> None:
    true = {"apec.Redshift": 0.05}
    path = Path("s.pha")
    assert inputs_of(hypotheses, spectra(1e4, **true), path).known.tolist() == [[0.05]]
    told = true | {"known.apec.Redshift": 0.06}
    inputs = inputs_of(hypotheses, spectra(1e4, **told), path)
    assert inputs.known.tolist() == [[0.06]]
    np.testing.assert_allclose(inputs.residuals, [[0, 9, -2, 7]])


def test_spectra_that_it_was_not_trained_for_are_refused(hypotheses: Hypotheses) -> None:
    path = Path("s.pha")
    with pytest.raises(IcflowError, match=r"s\.pha: its exposure is 5000 s.*trained for 10000 s"):
        inputs_of(hypotheses, spectra(5e3, **{"apec.Redshift": 0.05}), path)
    with pytest.raises(IcflowError, match=r"s\.pha: has no column apec\.Redshift"):
        inputs_of(hypotheses, spectra(1e4), path)


# --- files ------------------------------------------------------------------------


@pytest.fixture
def network() -> RatioNetwork:
    """A network of six numbers of fits, four residuals and one known number, adapted to some."""
    torch.manual_seed(1)
    made = RatioNetwork(Sizes(6, 4, 1), units=4, layers=2)
    made.adapt(DrawnSpectra(some(200), np.arange(200) % 2 == 0))
    torch.nn.init.normal_(made.output[1].weight)
    return made.eval()


def some(number: int) -> RatioInputs:
    random = np.random.default_rng(2)
    shapes = RatioInputs((), (), (6,), (4,), (1,))
    return RatioInputs(*(random.normal(size=(number, *shape)) for shape in shapes))


def test_a_network_says_the_same_after_it_was_written(
    tmp_path: Path, settings: RatioSettings, network: RatioNetwork
) -> None:
    path = tmp_path / "weights.safetensors"
    save(path, network, settings, digests(settings))
    loaded = load(path, settings)
    assert not loaded.training
    inputs = some(30)
    before = network.log_odds(inputs)
    assert np.ptp(before) > 0.1
    np.testing.assert_array_equal(loaded.log_odds(inputs), before)
    np.testing.assert_array_equal(loaded.unlike(inputs), network.unlike(inputs))


def test_all_files_that_spectra_are_drawn_with_count(
    settings: RatioSettings, tmp_path: Path, root: Path
) -> None:
    """Those that the background names too."""
    for name in ("a.arf", "be.arf", "fcxb.arf"):
        (tmp_path / name).write_text(name)
    text = (root / "resources/example/background.yaml").read_text()
    (tmp_path / "b.yaml").write_text(text)
    own = {"arf": str(tmp_path / "a.arf"), "background": str(tmp_path / "b.yaml")}
    module = settings.modules[0].model_copy(update=own)
    whole = settings.model_copy(update={"modules": [module]})
    before = digests(whole)
    assert set(digests(settings)) < set(before)
    for name in ("a.rmf", "a.arf", "b.yaml", "be.arf"):
        path = tmp_path / name
        kept = path.read_bytes()
        path.write_bytes(kept + b"\n")
        assert digests(whole) != before, name
        path.write_bytes(kept)
    assert digests(whole) == before


def test_a_network_of_other_settings_or_another_response_is_refused(
    tmp_path: Path, settings: RatioSettings, network: RatioNetwork
) -> None:
    path = tmp_path / "weights.safetensors"
    save(path, network, settings, digests(settings))
    with pytest.raises(IcflowError, match=r"other settings of ratios\.toy or other responses"):
        load(path, settings.model_copy(update={"layers": 3}))
    Path(settings.modules[0].rmf).write_bytes(b"another response")
    with pytest.raises(IcflowError, match=r"other settings of ratios\.toy or other responses"):
        load(path, settings)


@pytest.mark.parametrize("missing", ["basis", "inputs.weight"])
def test_weights_that_are_not_whole_are_refused(
    tmp_path: Path, settings: RatioSettings, network: RatioNetwork, missing: str
) -> None:
    path = tmp_path / "weights.safetensors"
    save(path, network, settings, digests(settings))
    state, tree = load_tensors(path)
    save_tensors(path, {name: t for name, t in state.items() if name != missing}, tree)
    with pytest.raises(IcflowError, match="the weights do not fit the settings stated in the file"):
        load(path, settings)

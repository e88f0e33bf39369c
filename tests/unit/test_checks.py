"""What `icflow validate` and Snakemake refuse before a run: one example of everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scanning import DATASETS, FIRST, PAIR, SECOND, scan_of

from icflow import checks, config, reach
from icflow import settings as settings_of
from icflow.cli import main
from icflow.config import Config
from icflow.detection.detectors import METHODS
from icflow.errors import IcflowError
from icflow.observation import analysis
from icflow.observation import fits as observed_fits

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted(
    [*(ROOT / "config").glob("*.yaml"), *(ROOT / "config/scans").glob("*.yaml")],
    key=lambda path: path.name,
)


@pytest.fixture(autouse=True)
def _here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rmf_path: Path, arf_path: Path, atomdb: Path
) -> None:
    """Run where the files of the default configuration are, and no results."""
    for name in ("config", "config.yaml", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)


def laid(above: dict[str, Any], *paths: str) -> Config:
    """Return the default configuration with files and a tree laid over it."""
    base = config.load("config.yaml", *paths).model_dump(mode="json", exclude_none=True)
    return config.validate(config.overlay(base, above), "here")


def refused(above: dict[str, Any], *paths: str) -> str:
    with pytest.raises(IcflowError) as caught:
        checks.check(laid(above, *paths), contents=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", [None, *OVERLAYS], ids=lambda p: p.name if p else "config.yaml")
def test_what_ships_with_the_project_is_accepted(path: Path | None) -> None:
    run = config.load("config.yaml", *([] if path is None else [path]))
    files, observations = checks.check(run)
    assert set(observations) == set(run.observations)
    assert "resources/responses/nustar_fpma.rmf" in files


def detector(name: str, **keys: Any) -> dict[str, Any]:
    return {"detection": {"detectors": {name: keys}}}


def training(**keys: Any) -> dict[str, Any]:
    return {"autoencoder": {"training": keys}}


NH = {"TBabs.nH": {"uniform": [0.007, 0.01]}}
NOMINAL = {
    "expression": "tbabs*(apec+apec)",
    "parameters": {"apec.Redshift": 0.05, "apec_3.Redshift": {"link": "apec.Redshift"}},
}
TWO_REDSHIFTS = {
    "expression": "tbabs*(apec+apec)",
    "parameters": {"apec.Redshift": 0.05, "apec_3.Redshift": 0.05},
}


def plasmas(**given: Any) -> dict[str, Any]:
    """Parameters of both plasmas of a scenario."""
    return {f"{name}.{key}": value for name in ("apec", "apec_3") for key, value in given.items()}


def population(**given: Any) -> dict[str, Any]:
    return {"scenarios": {"2T": {"parameters": plasmas(**given)}}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "mathematics": (
        {"detection": {"detectors": {"cae": {"title": r"$\frobnicate$"}}}},
        r"detection.detectors.cae.title is '$\\frobnicate$', and figures cannot show",
    ),
    "abundances": (
        {"atomic_data": {"abundances": "nope"}},
        "atomic_data.abundances: 'nope' is not a table of XSPEC; allowed: angr",
    ),
    "folder": (
        {"instrument": {"rmf": "resources"}},
        "instrument.rmf: resources is a folder, a pipe or a device; name a file",
    ),
    "device": (
        {"instrument": {"background": "/dev/zero"}},
        "instrument.background: /dev/zero is a folder, a pipe or a device; name a file",
    ),
    "one class": ({"detection": {"test": ["test_2T"]}}, "detection.test names datasets of one cl"),
    # models
    "expression": ({"scenarios": {"2T": {"expression": "tbabs*(apec+apc)"}}}, "scenarios.2T.expr"),
    "model without its data": (
        {"scenarios": {"2T": {"expression": "tbabs*(apec+mekal)"}}},
        "scenarios.2T.expression: mekal reads data files of XSPEC that this installation comes",
    ),
    "parameter": (
        {"fits": {"models": {"1T": {"parameters": {"apec.temperature": 1.0}}}}},
        "fits.models.1T.parameters.apec.temperature: 'tbabs*apec' has no such parameter",
    ),
    "hard limits": (
        {"datasets": {"test_2T": {"parameters": {"apec.kT": {"uniform": [1.0, 100.0]}}}}},
        "datasets.test_2T.parameters.apec.kT: 100 lies outside XSPEC's hard limits",
    ),
    "parameter of a dataset": (
        {"datasets": {"test_2T": {"parameters": {"powerlaw.norm": 1.0}}}},
        "datasets.test_2T.parameters.powerlaw.norm: 'tbabs*(apec+apec)' has no such parameter",
    ),
    "label of a parameter that the model lacks": (
        {"autoencoder": {"labels": {"kT": "fit:apec.kt"}}},
        "autoencoder.labels.kT is 'fit:apec.kt', which is no parameter that differs among the "
        "training spectra; allowed: apec.kT, apec.Abundanc, apec.Redshift, apec.norm; did you "
        "mean apec.kT?",
    ),
    "label of a parameter that is fixed": (
        {"autoencoder": {"networks": {"dense": {"labels": {"nH": "truth:TBabs.nH"}}}}},
        "autoencoder.networks.dense.labels.nH is 'truth:TBabs.nH', which is no parameter that",
    ),
    "integral over redshift": (
        {"integrals": {"2T_fixed": {"at_truth": []}}},
        "integrals.2T_fixed.at_truth lacks apec.Redshift",
    ),
    "integral over a column density": (
        {"scenarios": {"1T+IC": {"parameters": NH}}, "integrals": {"2T_fixed": {"scenario": "2T"}}},
        "integrals.1T+IC_fixed: scenarios.1T+IC draws TBabs.nH, and no table holds apec where "
        "that varies",
    ),
    "ratio of column densities": (
        {
            "scenarios": {"2T": {"parameters": NH}, "2T_nominal": NOMINAL},
            "integrals": {"2T_fixed": {"scenario": "2T_nominal"}},
            "ratios": {"mine": {"thermal": "2T", "alternative": "1T+IC"}},
        },
        "ratios.mine: scenarios.2T draws TBabs.nH, and no table holds apec where that varies",
    ),
    "ratio of two redshifts": (
        {
            "scenarios": {"two": TWO_REDSHIFTS},
            "ratios": {"mine": {"thermal": "two", "alternative": "1T+IC"}},
        },
        "ratios.mine: scenarios.two has several redshifts (apec.Redshift, apec_3.Redshift)",
    ),
    "scatter of no component, of an integral": (
        {"integrals": {"2T_fixed": {"background_scatter": {"foo": 0.1}}}},
        "integrals.2T_fixed.background_scatter names 'foo', which the background does not have; "
        "allowed: continuum, aperture, lines, focused",
    ),
    "scatter of no component, of a dataset": (
        {"datasets": {"test_2T": {"systematics": {"background": {"line": 0.1}}}}},
        "datasets.test_2T.systematics.background names 'line', which the background does not",
    ),
    "range of no component": (
        {"fits": {"baseline": {"2T_free": {"background_range": {"line": 0.1}}}}},
        "fits.baseline.2T_free.background_range names 'line', which the background does not have",
    ),
    # values that no fit can take
    "norms of labels": (
        population(norm={"uniform": [1000.0, 2000.0]}),
        "scenarios.2T.parameters: apec.norm and apec_3.norm are at least 1000, above 100, the most "
        "that fits.models.1T lets apec.norm take, so that fits.label is right for no spectrum of "
        "the dataset 'train_2T'; correct the former or widen these limits",
    ),
    "temperatures of labels": (
        population(kT={"uniform": [20.0, 30.0]}),
        "scenarios.2T.parameters: apec.kT and apec_3.kT are at least 20, above 15, the most that "
        "fits.models.1T lets apec.kT take, so that fits.label",
    ),
    "faint labels": (
        {"fits": {"models": {"1T": {"parameters": {"apec.norm": {"free": [0.5, 100.0]}}}}}},
        "scenarios.2T.parameters: apec.norm and apec_3.norm are at most 0.33, below 0.5, the least "
        "that fits.models.1T lets apec.norm take",
    ),
    "labels of a dataset's own population": (
        {"datasets": {"train_2T": {"parameters": plasmas(norm={"uniform": [150.0, 160.0]})}}},
        "datasets.train_2T.parameters: apec.norm and apec_3.norm are at least 150, above 100",
    ),
    "norms of a test dataset": (
        {"datasets": {"test_1T+IC": {"parameters": {"powerlaw.norm": 2.0}}}},
        "datasets.test_1T+IC.parameters: powerlaw.norm is at least 2, above 1, the most that "
        "fits.models.1T+IC lets powerlaw.norm take, so that fits.baseline.1T+IC_fixed is right "
        "for no spectrum of the dataset 'test_1T+IC'",
    ),
    "redshifts at the point of a scan": (
        {
            "scans": {"mine": scan_of({**FIRST, "test": ["test_2T", "far"]}, SECOND)},
            "datasets": {
                **DATASETS,
                "far": {"like": "test_1T+IC", "parameters": {"apec.Redshift": 0.5}},
            },
        },
        "datasets.far.parameters: apec.Redshift is at least 0.5, above 0.2, the most that "
        "fits.models.1T+IC lets apec.Redshift take, so that fits.baseline.1T+IC_free is right for",
    ),
    "no source to learn from": (
        population(norm={"uniform": [1.0e-13, 1.0e-12]}),
        "datasets.train_2T, which the networks learn from, has no spectrum with a count of its "
        "source between 3 and 80 keV",
    ),
    # observations, while there are none
    "model for observations": ({"observe": {"both": "2T+C"}}, "observe.both is '2T+C', allowed: "),
    "model of a detector of observations": (
        {"observe": {"detectors": {"ic_added": {"thermal": "1T"}}}},
        "observe.detectors.ic_added.thermal is '1T', allowed: 1T+IC, 2T, 2T+IC",
    ),
    "component of observations": (
        {"observe": {"ic": "bknpower"}},
        "observe.ic is 'bknpower', which fits.models.1T+IC does not have",
    ),
    "method for observations": (
        {"observe": {"detectors": {"delta_cstat": {"method": "delta_cstatt"}}}},
        "observe.detectors.delta_cstat.method is 'delta_cstatt', allowed: ",
    ),
    "network for observations": (
        {
            "observe": {
                "detectors": {
                    "mine": {"title": "M", "method": "reconstruction_error", "network": "cae"}
                }
            }
        },
        "observe.detectors.mine.network: the latents of 'cae' are held to label fits",
    ),
    "energies of a flux that nobody sees": (
        {"observe": {"ic_energies": [20.0, 200.0]}},
        "observe.ic_energies: the energies 20 to 200 keV reach outside the response of the "
        "instrument, whose channels cover 1.6 to 165.44 keV",
    ),
    # detectors
    "method": (
        detector("cae", method="no_such_method"),
        "detection.detectors.cae.method is 'no_such_method', allowed: "
        f"{', '.join(sorted(METHODS))}",
    ),
    "a detector named like a column": (
        detector("index", title="I", method="reconstruction_error", network="ae"),
        "detection.detectors.index: the table of scores has a column of that name already",
    ),
    "a detector named like a column of another": (
        detector("ae_decision", title="D", method="reconstruction_error", network="ae"),
        "detection.detectors.ae_decision: the table of scores has a column of that name already",
    ),
    "a detector named like a truth": (
        detector("truth.apec.kT", title="T", method="reconstruction_error", network="ae"),
        "detection.detectors.truth.apec.kT: the table of scores has a column of that name",
    ),
    "what a method needs": (
        detector("mine", title="Mine", method="delta_cstat", thermal="2T_free"),
        "detection.detectors.mine lacks alternative, which the method 'delta_cstat' reads",
    ),
    "a fit for an integral": (
        detector("bayes_factor", thermal="2T_free"),
        "detection.detectors.bayes_factor.thermal is '2T_free', which integrals does not have",
    ),
    "an integral for a fit": (
        {"integrals": {"mine": {"scenario": "2T", "at_truth": ["apec.Redshift"]}}}
        | detector("delta_cstat_free", thermal="mine"),
        "detectors.delta_cstat_free.thermal is 'mine', which fits.baseline does not have",
    ),
    "nothing to learn from": (
        {"detection": {"training_ic": None}},
        "learns from detection.training_ic, which is not set",
    ),
    "few fits to learn from": (
        {"detection": {"fitted": 19}},
        "learns from fits of 19 spectra of detection.training, and 20 are the fewest",
    ),
    "few spectra to learn from": (
        {"datasets": {"train_1T+IC": {"size": 12}}},
        "learns from fits of 12 spectra of detection.training_ic, and 20 are the fewest",
    ),
    "few spectra that a network has not seen": (
        training(spectra=190, batch=32),
        "detection.detectors.latent_density learns from the 19 spectra that a fold holds out",
    ),
    "a density without labels": (
        {"autoencoder": {"networks": {"free": {"constraint": 0.0, "labels": {}}}}}
        | detector("latent_density", network="free"),
        "detection.detectors.latent_density.network is 'free', which has no labels",
    ),
    "a batch of more than all": (
        training(batch=3201),
        "autoencoder.training.batch is 3201, but only 3200 spectra train in a fold",
    ),
    "validation without IC": (
        {"detection": {"validation": ["validation_2T"]}},
        "detection.validation names no dataset with IC, which detection.detectors.",
    ),
    "validation with IC only": (
        {"detection": {"validation": ["validation_1T+IC"]}},
        "detection.validation names no dataset without IC, which detection.detectors.",
    ),
    "training with IC": (
        {"detection": {"training_ic": "validation_2T"}},
        "detection.training_ic is 'validation_2T', whose spectra are of the other class",
    ),
    # energies
    "no channel to fit": (
        {"fits": {"energies": [200.0, 300.0]}},
        "fits.energies: the energies 200 to 300 keV select no channel",
    ),
    "no bin of so many counts": (
        {"fits": {"group_min": 10**7}},
        "fits.group_min is 10000000, and in 1e+06 s no spectrum of the dataset 'test_1T+IC' has "
        "more than ",
    ),
    "no bin in so short a time": (
        {"datasets": {"test_1T+IC": {"exposure": 0.1}}},
        "counts between 3 and 80 keV, so that no bin is left of any; lower it, or raise "
        "datasets.test_1T+IC.exposure",
    ),
    "no count": (
        {"fits": {"group_min": 0}, "instrument": {"exposure": 1.0e-12}},
        "instrument.exposure is 1e-12 s, in which no spectrum of the dataset 'train_2T' has a "
        "count between 3 and 80 keV; raise it",
    ),
    "no bin at the point of a scan": (
        {
            "scans": {"mine": scan_of({**FIRST, "test": ["test_2T", "brief"]}, SECOND)},
            "datasets": {**DATASETS, "brief": {"like": "test_1T+IC", "exposure": 0.1}},
        },
        "raise datasets.brief.exposure",
    ),
    "no channel for networks": (
        {"autoencoder": {"energies": [0.1, 0.5]}},
        "autoencoder.energies: the energies 0.1 to 0.5 keV select no channel",
    ),
    "few channels for networks": (
        {"autoencoder": {"energies": [3.0, 4.0]}},
        "autoencoder.energies: selects 25 channels, fewer than the 2^5",
    ),
    "no channel to score": (
        {"detection": {"score_energies": [130.0, 150.0]}},
        "detection.score_energies: the energies 130 to 150 keV select no channel",
    ),
    # files
    "a missing file": (
        {"instrument": {"arf": "mine.arf"}},
        "instrument.arf: mine.arf does not exist; put the file there",
    ),
    "a file of another kind": (
        {"instrument": {"arf": "resources/responses/nustar_fpma.rmf"}},
        "instrument.arf: resources/responses/nustar_fpma.rmf: not an effective area",
    ),
    "a region": (
        {
            "responses": {
                "mine": {
                    "sequence": "60201056002",
                    "data": "archive",
                    "module": "FPMA",
                    "region": "no.reg",
                }
            }
        },
        "responses.mine.region: no.reg does not exist; save one with ds9",
    ),
}


@pytest.mark.parametrize(
    "above",
    [
        population(norm={"uniform": [20.0, 120.0]}),
        # A plasma that is too cool to be seen adds nothing to the norm of one fit.
        {"scenarios": {"2T": {"parameters": {"apec_3.norm": {"uniform": [150.0, 200.0]}}}}},
        population(norm={"uniform": [60.0, 80.0]}),
        {"scenarios": {"2T": {"parameters": {"apec.kT": {"uniform": [20.0, 30.0]}}}}},
        # Frozen at the truth, whatever the limits.
        {"datasets": {"train_2T": {"parameters": {"apec.Redshift": {"uniform": [0.3, 0.4]}}}}},
        # A component that is not there has no parameters.
        {
            "datasets": {"test_1T+IC": {"parameters": {"powerlaw.norm": 0.0}}},
            "fits": {"models": {"1T+IC": {"parameters": {"powerlaw.norm": {"free": [1e-6, 1.0]}}}}},
        },
        # Two plasmas share the norm of one.
        {
            "datasets": {"one": {"like": "test_1T+IC", "parameters": {"apec.norm": 150.0}}},
            "fits": {"baseline": {"mine": {"model": "2T+IC"}}},
        },
    ],
)
def test_values_that_some_fit_may_take_pass(above: dict[str, Any]) -> None:
    reach.check(laid(above))


def test_scatter_without_a_background_is_refused() -> None:
    tree = config.load("config.yaml").model_dump(mode="json", exclude_none=True)
    del tree["instrument"]["background"]
    tree["instrument"]["systematics"] = {"background": {"lines": 0.1}}
    with pytest.raises(
        IcflowError, match=r"^instrument\.systematics\.background names 'lines', and"
    ):
        checks.check(config.validate(tree, "here"))


def test_detectors_of_fits_take_an_uncertain_column_density() -> None:
    nominal = {"scenario": "2T_nominal", "at_truth": ["apec.Redshift"]}
    checks.check(
        laid(
            {
                "scenarios": {"2T": {"parameters": NH}, "2T_nominal": NOMINAL},
                "integrals": {"2T_fixed": nominal},
            }
        )
    )


def skies(*scatters: float) -> dict[str, Any]:
    """Two modules, by how much what is focused scatters in each."""
    files = dict.fromkeys(("rmf", "arf", "background", "exposure"))
    shared = config.load("config.yaml").modules[0].model_dump(include=set(files))
    systematics = [{"background": {"lines": 0.1 * s, "focused": s}} for s in scatters]
    named = zip("AB", systematics, strict=True)
    return {"instrument": [{"name": name, "systematics": s} | shared for name, s in named]}


def test_integrals_need_one_sky_behind_all_modules() -> None:
    """Lines are each module's own, and an integral may know of other scatter than is drawn."""
    text = refused(skies(0.3, 0.2), "config/two-modules.yaml")
    assert "integrals.2T_fixed: background.A.focused scatters by 0.3 and" in text
    assert "background.B.focused by 0.2, " in text
    knowing = {name: {"background_scatter": 0.3} for name in ("2T_fixed", "1T+IC_fixed")}
    for above in (skies(0.3, 0.3), skies(0.3, 0.2) | {"integrals": knowing}):
        checks.check(laid(above, "config/two-modules.yaml"))
    del knowing["2T_fixed"]
    above = skies(0.3, 0.2) | {"integrals": knowing}
    assert "integrals.2T_fixed: " in refused(above, "config/two-modules.yaml")


@pytest.mark.parametrize(("above", "words"), list(REFUSED.values()), ids=list(REFUSED))
def test_is_refused(above: dict[str, Any], words: str) -> None:
    assert words in refused(above)


# --- scans ---------------------------------------------------------------------------


def with_scan(scan: dict[str, Any]) -> Config:
    return laid({"datasets": DATASETS, "scans": {"mine": scan}})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            scan_of(FIRST, SECOND | {"test": ["faint"]}),
            "scans.mine.points.second.test names no dataset without IC",
        ),
        (
            scan_of(FIRST, SECOND | {"validation": ["validation_2T"]}),
            "scans.mine.points.second.validation names datasets of one class",
        ),
        (
            scan_of(FIRST, SECOND | {"training_ic": "train_2T"}),
            "scans.mine.points.second.training_ic is 'train_2T', whose spectra are of the other",
        ),
        (
            scan_of(FIRST, SECOND, detectors=["combined", "cae"]),
            "scans.mine.detectors names 'combined', but not fit_classifier, which it combines",
        ),
        (
            scan_of(FIRST, SECOND | {"reads": {"bayes_factor": PAIR | {"thermal": "2T_free"}}}),
            "scans.mine.points.second.reads.bayes_factor.thermal is '2T_free', which integrals ",
        ),
        (
            scan_of(
                FIRST, SECOND | {"reads": {"bayes_factor": PAIR | {"alternative": "2T_fixed"}}}
            ),
            "scans.mine.points.second.reads.bayes_factor.alternative is '2T_fixed', which ",
        ),
        (
            scan_of(FIRST, SECOND | {"reads": {"cae": PAIR}}),
            "scans.mine.points.second.reads names 'cae', whose method 'reconstruction_error' reads",
        ),
        (
            scan_of(FIRST, {k: v for k, v in SECOND.items() if k != "value"}),
            "scans.mine: its figure is drawn against the value, which a point lacks",
        ),
        (
            scan_of(FIRST, SECOND, figure="fluxes"),
            "scans.mine: its figure has a logarithmic axis, and a point has a value that is not",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_scans_that_cannot_be_evaluated_are_refused(bad: dict[str, Any], words: str) -> None:
    with pytest.raises(IcflowError) as caught:
        checks.check(with_scan(bad))
    assert words in str(caught.value)


# --- files and observations ------------------------------------------------------------


def test_an_unreadable_response_is_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "mine.rmf"
    damaged.write_bytes(Path("resources/responses/nustar_fpma.rmf").read_bytes()[:100_000])
    above = {"instrument": {"rmf": str(damaged)}}
    assert f"instrument.rmf: {damaged}" in refused(above)
    # Snakemake leaves that to the job that reads it.
    checks.check(laid(above))


def wrong(**what: Any) -> dict[str, Any]:
    return {"observe": {"systematics": what}}


OBSERVED: dict[str, tuple[dict[str, Any], str]] = {
    "engine": ({"engine": "xspec"}, "engine: is 'xspec', and observations are analysed by the"),
    "method": (
        {"observe": {"detectors": {"delta_cstat": {"method": "bayes_factor"}}}},
        "observe.detectors.delta_cstat.method is 'bayes_factor', which reads integrals",
    ),
    "ratio": (
        {
            "ratios": {
                "z": {"thermal": "2T", "alternative": "1T+IC", "at_truth": ["apec.kT"]},
            },
            "observe": {"detectors": {"delta_cstat": {"method": "ratio_estimator", "ratio": "z"}}},
        },
        "observe.detectors.delta_cstat.ratio: z takes apec.kT as known",
    ),
    "systematics of a ratio": (
        {
            "ratios": {"z": {"thermal": "2T", "alternative": "1T+IC", "systematics": {}}},
            "observe": {"detectors": {"delta_cstat": {"method": "ratio_estimator", "ratio": "z"}}},
        },
        "ratios.z.systematics has no use for observations, for which ratios are trained with "
        "observe.systematics",
    ),
    "component": ({"observe": {"ic": "bknpower"}}, "observe.ic is 'bknpower', which fits.models."),
    "energies of a flux that it does not see": (
        {"observe": {"ic_energies": [1.0, 80.0]}},
        "observe.ic_energies: the energies 1 to 80 keV reach outside the response of "
        "observations.example, whose channels cover 1.6 to",
    ),
    "few to learn from": (
        {"observe": {"simulations": 30, "false_alarm": 0.04}},
        "observe.simulations is 30, too few for observe.detectors.fit_discriminant to learn",
    ),
    "grouping": (
        {"observations": {"example": {"group_min": 10**7}}},
        "observations.example: the energies 3 to 80 keV select no channel",
    ),
    "energies": (
        {"observations": {"example": {"energies": [1.0, 80.0]}}},
        "observations.example: the energies 1 to 80 keV reach outside",
    ),
    "area outside of the response": (
        wrong(area=[[1.0, 0.02], [79.0, 0.1]]),
        "observe.systematics, of observations.example: systematics.area has a node at 1 keV, outsi",
    ),
    "energy scale out of the channels": (
        wrong(gain={"offset": 900.0}),
        "observe.systematics, of observations.example: systematics.gain moves energies by up to ",
    ),
    "component of no background": (
        wrong(background={"lins": 0.03}),
        "observe.systematics, of observations.example: background names 'lins', which the "
        "background does not have; allowed: continuum, aperture, lines, focused; did you mean",
    ),
    "component of another background": (
        wrong(background={"solar": 0.3}),
        "observe.systematics, of observations.example: background names 'solar', which the",
    ),
    "component, but no background": (
        wrong(background={"lines": 0.03}) | {"observations": {"example": {"background": "none"}}},
        "of observations.example: background names 'lines', and no description of the background",
    ),
}


@pytest.mark.parametrize(("above", "words"), list(OBSERVED.values()), ids=list(OBSERVED))
def test_is_refused_of_an_observation(above: dict[str, Any], words: str) -> None:
    assert words in refused(above, "config/observe-example.yaml")


def test_what_may_be_wrong_is_that_of_the_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ("config/observe-example.yaml", "config/observe-systematics.yaml")
    known = laid({}, *files)
    checks.check(known, contents=True)
    datasets = laid({}, "config/systematics.yaml").modules
    assert known.observe.systematics == datasets[0].systematics
    # Before anything is folded or fitted.
    monkeypatch.setattr(observed_fits, "engine_for", lambda *_: pytest.fail("too late"))
    settings = settings_of.observe(laid(wrong(area=[[1.0, 0.1], [79.0, 0.1]]), *files), "example")
    with pytest.raises(IcflowError, match=r"^observe\.systematics, of observations\.example: "):
        analysis.run(settings, Path("analysed"))


def test_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    above = tmp_path / "above.yaml"
    above.write_text("detection: {detectors: {cae: {method: no_such_method}}}\n")
    assert main(["validate", "--config", "config.yaml", str(above)]) == 1
    assert "detection.detectors.cae.method is 'no_such_method'" in capsys.readouterr().err

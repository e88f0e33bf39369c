"""Numbers as the verdict on an observation says them."""

from __future__ import annotations

import numpy as np

from icflow.observation import words as observed_words

INTERVAL = {"interval_90": [1e-12, 2.5e-12]}


def test_numbers_in_words() -> None:
    assert observed_words.scientific(2.713e-12) == "2.71 × 10⁻¹²"
    assert observed_words.scientific(0.0) == "0"
    assert observed_words.percent(0.0025) == "0.25 %"
    assert observed_words.percent(1e-30) == "less than 0.01 %"


def test_the_statistic_is_called_by_its_name() -> None:
    for name, title in (
        ("C", "ΔC, IC added"),
        ("W", "ΔW, IC added"),
        ("W + C", "Δ(W + C), IC added"),
    ):
        assert observed_words.with_statistic("ΔC, IC added", name) == title
    assert observed_words.with_statistic("C/dof closer to 1", "W") == "W/dof closer to 1"
    assert observed_words.with_statistic("Coma", "W") == "Coma"
    check = {"parameter": "nH", "spectrum": "B", "given": 1, "best": 2, "delta_cstat": 20}
    (said,) = observed_words.warnings(
        {"checks": [{**check, "doubtful": True, "statistic": "W"}], "fits": {}}
    )
    assert said.endswith("fitted, it is 2, and W of B falls by 20")


def test_few_counts_behind_are_pointed_out() -> None:
    assert observed_words.few_behind(1.0, "`group_min`") == []
    (note,) = observed_words.few_behind(0.153, "`group_min`")
    assert note.startswith("the background spectrum holds 0.15 counts in a bin")
    assert "wider bins, with `group_min`" in note


def test_counts_that_nothing_explains_are_pointed_out() -> None:
    assert observed_words.unexplained(np.zeros(3), "C", "--energies") == []
    (note,) = observed_words.unexplained(np.array([0.0, 7.0]), "W", "--energies")
    assert note.startswith("7 counts lie in 1 bin") and "so W is high" in note
    (note,) = observed_words.unexplained(np.array([3.0, 7.0]), "W", "--energies")
    assert note.startswith("10 counts lie in 2 bins")


def test_a_start_that_stands_alone_is_pointed_out() -> None:
    assert observed_words.lone_start(2, 8, "C", "--starts") == []
    assert observed_words.lone_start(1, 1, "C", "--starts") == []
    (note,) = observed_words.lone_start(1, 8, "W", "--starts")
    assert note.startswith("only 1 of 8 starts led to the lowest W") and "--starts" in note


def test_the_verdict_is_printed_with_its_warnings() -> None:
    files = {"file": "a.pha", "rmf": "a.rmf", "arf": None, "background": "b.pha"}
    observation = {
        "spectra": [{**files, "grouped": False}, {**files, "file": "c.pha", "grouped": True}],
        "energies": [3.0, 80.0],
        "bins": 12,
        "group_min": 100,
        "statistic": "W",
    }
    summary = {
        "verdict": "Nothing.",
        "warnings": ["the fit is bad"],
        "observation": observation,
        "notes": ["a.rmf: is odd"],
    }
    assert observed_words.printed(summary).splitlines() == [
        "Nothing.",
        "Warning: the fit is bad",
        "Spectrum a.pha: response a.rmf, area none, background b.pha, bins of at least 100 counts",
        "Spectrum c.pha: response a.rmf, area none, background b.pha, grouped as the file says",
        "Bins 12, 3 to 80 keV, statistic W",
        "Note: a.rmf: is odd",
    ]


def test_the_verdict_says_what_decides() -> None:
    flux = {"energies": [20.0, 80.0], "upper_limit_90": 3e-12, "upper_limit_3_sigma": 6e-12}
    summary = {
        "name": "a2256",
        "decision": "no IC",
        "false_alarm": 0.5,
        "models": {"thermal": "2T"},
        "ic_flux": flux,
        "systematics": None,
    }
    plain = observed_words.verdict(summary)
    assert plain.endswith("is below 3.00 × 10⁻¹² erg/cm²/s (90 %), below 6.00 × 10⁻¹² (3 σ)")
    without = {"upper_limit_90": 1e-12, "upper_limit_3_sigma": 2e-12, "describes": True}
    said = observed_words.verdict(summary | {"systematics": {"without": without}})
    assert said.startswith(plain + "; this decides, with calibration and background as wrong as ")
    assert said.endswith("the flux would be below 1.00 × 10⁻¹², 90 %, and 2.00 × 10⁻¹², 3 σ)")
    bad = without | {"describes": False, "model": "2T+IC", "cstat": 2700.4, "dof": 1914}
    unfit = {"systematics": {"without": bad}, "observation": {"statistic": "W"}}
    said = observed_words.verdict(summary | unfit)
    assert said.endswith(
        "says (if nothing were, 2T+IC would not describe the spectrum, W 2700 for 1914 dof, and "
        "its limits would mean nothing)"
    )
    detected = summary | {"decision": "IC", "ic_flux": flux | {"value": 2e-12} | INTERVAL}
    plain = observed_words.verdict(detected)
    assert plain.endswith("its 20–80 keV flux is 2.00 (1.00 to 2.50, 90 %) × 10⁻¹² erg/cm²/s")
    said = observed_words.verdict(detected | {"systematics": {"without": without}})
    assert said.endswith(
        "its 20–80 keV flux is 2.00 (1.00 to 2.50, 90 %) × 10⁻¹² erg/cm²/s; this "
        "decides, with calibration and background as wrong as observe.systematics says, with which "
        "the flux is below 3.00 × 10⁻¹² (90 %), below 6.00 × 10⁻¹² (3 σ)"
    )


def test_what_fits_settle_is_said() -> None:
    likeliest: dict[str, dict[str, float | None]] = {
        "gain.offset": {"value": -0.713, "error": 0.03},
        "area.0": {"value": 0.2, "error": 0.9},
        "area.1": {"value": 0.0, "error": None},
    }
    summary = {"systematics": {"likeliest": likeliest}, "ic_flux": {"model": "2T+IC"}}
    assert observed_words.calibrated({"systematics": None}) == []
    (said,) = observed_words.calibrated(summary)
    assert said.endswith(
        "of 2T+IC finds gain.offset -0.71 ± 0.03 standard deviations of observe.systematics"
    )
    likeliest["gain.offset"]["error"] = 0.8
    (said,) = observed_words.calibrated(summary)
    assert said.endswith("settles calibration and background with its spectrum")


def test_what_limits_rest_on_is_doubted() -> None:
    assert observed_words.without_end([]) == []
    (said,) = observed_words.without_end(["2T+IC"])
    assert said.startswith("no amount of IC is excluded in 2T+IC")

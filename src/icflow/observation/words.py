"""What the analysis of an observation found, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from icflow.engines.base import FitResult
from icflow.typing import Counts

# False-alarm probabilities below this are worth a word, though no detection.
HINT = 0.1
# W is biased where a bin holds fewer counts of the background spectrum than this.
FEW = 1
# A spectrum says something about what is wrong that it knows to this, in standard deviations.
TELLING = 0.5
# Probabilities are told down to this.
LEAST_PERCENT = 0.01

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def verdict(summary: Mapping[str, Any]) -> str:
    """Return the verdict with the numbers behind it."""
    flux, models = summary["ic_flux"], summary["models"]
    low, high = flux["energies"]
    band = f"{low:g}–{high:g} keV"
    name, chance = summary["name"], percent(summary["false_alarm"])
    thermal = models["thermal"]
    if summary["decision"] == "no model fits":
        best = max(summary["fits"].items(), key=lambda item: item[1]["goodness"])
        return (
            f"None of the models describes {name} (the best, {best[0]}, fits worse than all but "
            f"{percent(best[1]['goodness'])} of spectra simulated with it), so nothing can be said "
            "about inverse Compton emission: check redshift, column density, background, energies"
        )
    if summary["decision"] == "IC":
        value, unit = flux["value"], scientific_unit(flux["value"])
        ends = " to ".join(f"{end / unit:.2f}" for end in flux["interval_90"])
        return (
            f"Inverse Compton emission is detected in {name}: only {chance} of simulated {thermal} "
            f"spectra look as much like it; its {band} flux is {value / unit:.2f} ({ends}, "
            f"90 %) × {power(unit)} erg/cm²/s{_detecting(summary)}"
        )
    if summary["false_alarm"] < HINT:
        opening = f"Inverse Compton emission is possible in {name}, but not established"
    else:
        opening = f"No inverse Compton emission is needed in {name}"
    return (
        f"{opening}: {chance} of simulated {thermal} spectra look as much like it; its {band} flux "
        f"is below {scientific(flux['upper_limit_90'])} erg/cm²/s (90 %), below "
        f"{scientific(flux['upper_limit_3_sigma'])} (3 σ){_deciding(summary)}"
    )


def _deciding(summary: Mapping[str, Any]) -> str:
    """Say that what is wrong with the instrument is in the numbers, and what they were without."""
    if summary["systematics"] is None:
        return ""
    without = summary["systematics"]["without"]
    if without["describes"]:
        then = (
            f"the flux would be below {scientific(without['upper_limit_90'])}, 90 %, "
            f"and {scientific(without['upper_limit_3_sigma'])}, 3 σ"
        )
    else:
        then = not_described(without, summary["observation"]["statistic"])
    return (
        "; this decides, with calibration and background as wrong as observe.systematics says (if "
        f"nothing were, {then})"
    )


def not_described(without: Mapping[str, Any], statistic: str) -> str:
    """Say that there are no limits from a fit in which nothing is wrong, for it is bad."""
    return (
        f"{without['model']} would not describe the spectrum, {statistic} {without['cstat']:.0f} "
        f"for {without['dof']} dof, and its limits would mean nothing"
    )


def _detecting(summary: Mapping[str, Any]) -> str:
    """Say that what is wrong with the instrument is in the numbers, and what it leaves open."""
    if summary["systematics"] is None:
        return ""
    flux = summary["ic_flux"]
    return (
        "; this decides, with calibration and background as wrong as observe.systematics says, "
        f"with which the flux is below {scientific(flux['upper_limit_90'])} (90 %), below "
        f"{scientific(flux['upper_limit_3_sigma'])} (3 σ)"
    )


def calibrated(summary: Mapping[str, Any]) -> list[str]:
    """Say what a fit has settled of what is wrong with the instrument, where the spectrum says."""
    if summary["systematics"] is None:
        return []
    likeliest = summary["systematics"]["likeliest"].items()
    known = [
        f"{name} {own['value']:.2f} ± {own['error']:.2f}"
        for name, own in likeliest
        if own["error"] is not None and own["error"] < TELLING
    ]
    text = "every fit settles calibration and background with its spectrum"
    model = summary["ic_flux"]["model"]
    found = f"{text}; that of {model} finds {', '.join(known)} standard deviations"
    return [f"{found} of observe.systematics" if known else text]


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """Return what a reader should look into, one sentence each."""
    sentences = []
    words = {"redshift": "redshift", "nH": "column density (1e22 cm⁻²)"}
    for check in summary["checks"]:
        if check["doubtful"]:
            spectrum = f" of {check['spectrum']}" if check["spectrum"] else ""
            sentences.append(
                f"the {words[check['parameter']]} {check['given']:g} is doubtful: fitted, it is "
                f"{check['best']:.4g}, and {check['statistic']}{spectrum} falls by "
                f"{check['delta_cstat']:.0f}"
            )
    for name, fit in summary["fits"].items():
        if not fit["converged"]:
            sentences.append(f"the fit of {name} did not converge")
        if fit["goodness"] < 0.01:
            sentences.append(
                f"{name} does not describe the spectrum: it fits worse than all but "
                f"{percent(fit['goodness'])} of spectra simulated with it"
            )
    return sentences


def without_end(models: Sequence[str]) -> list[str]:
    """Say in which models an upper limit of IC is where the range of its norm ends."""
    return [
        f"no amount of IC is excluded in {name}: its limit is where the range of the norm ends"
        for name in models
    ]


def printed(summary: Mapping[str, Any]) -> str:
    """Return the verdict, what to look into, what was read and what is odd, line by line."""
    return "\n".join(
        [
            str(summary["verdict"]),
            *(f"Warning: {sentence}" for sentence in summary["warnings"]),
            *_read(summary["observation"]),
            *(f"Note: {sentence}" for sentence in summary["notes"]),
        ]
    )


def _read(observation: Mapping[str, Any]) -> list[str]:
    """Say which files were read, and in which bins: headers and defaults choose some of them."""
    lines = []
    for spectrum in observation["spectra"]:
        grouped = f"bins of at least {observation['group_min']} counts"
        lines.append(
            f"Spectrum {spectrum['file']}: response {spectrum['rmf']}, area "
            f"{spectrum['arf'] or 'none'}, background {spectrum['background'] or 'none'}, "
            f"{'grouped as the file says' if spectrum['grouped'] else grouped}"
        )
    low, high = observation["energies"]
    name = observation["statistic"]
    return [*lines, f"Bins {observation['bins']}, {low:g} to {high:g} keV, statistic {name}"]


def lone_start(agreeing: int, starts: int, statistic: str, option: str) -> list[str]:
    """Say that a single start led to the lowest statistic, where it is one of several.

    Parameters
    ----------
    option : str
        Where the user asks for more starts.
    """
    if agreeing > 1 or starts < 2:
        return []
    return [
        f"only {agreeing} of {starts} starts led to the lowest {statistic}: others may lead lower "
        f"still; try more, with {option}"
    ]


def no_average(errors: str, result: FitResult) -> list[str]:
    """Say that there are no intervals of an averaged likelihood, where they are asked for."""
    if errors != "marginal" or result.intervals or not result.free:
        return []
    return [
        "no averaged intervals: the fit is not a minimum, or the data leave more open than the "
        "average can cover; fix or link parameters, or ask for intervals by profile"
    ]


def few_behind(per_bin: float, option: str) -> list[str]:
    """Say that a background spectrum holds few counts in a bin, where it does.

    Parameters
    ----------
    option : str
        Where the user asks for wider bins.
    """
    if per_bin >= FEW:
        return []
    return [
        f"the background spectrum holds {per_bin:.2g} counts in a bin on average; below {FEW} W is "
        f"biased, and norms of faint sources come out low: use wider bins, with {option}, or a "
        "description of the background"
    ]


def unexplained(counts: Counts, statistic: str, option: str) -> list[str]:
    """Say that counts lie where neither a photon nor a background reaches, where they do.

    Parameters
    ----------
    counts : ndarray, shape (n_unreached,)
        Of the bins that nothing reaches.
    option : str
        Where the user chooses other energies.
    """
    held = int((counts > 0).sum())
    if held == 0:
        return []
    bins = "1 bin" if held == 1 else f"{held} bins"
    return [
        f"{counts.sum():.0f} counts lie in {bins} in which the response gives no model any, so "
        f"{statistic} is high whatever is fitted; leave them out, with {option}"
    ]


def with_statistic(title: str, statistic: str) -> str:
    """Return a title in which the statistic, C in ``ΔC`` and ``C/dof``, has its own name."""
    own = f"({statistic})" if "+" in statistic else statistic
    return title.replace("ΔC", f"Δ{own}").replace("C/dof", f"{own}/dof")


def percent(fraction: float) -> str:
    """Return a fraction in percent: ``5.0 %``, ``0.25 %``."""
    value = 100 * fraction
    if value < LEAST_PERCENT:
        return f"less than {LEAST_PERCENT:g} %"
    return f"{value:.2f} %" if value < 1 else f"{value:.1f} %"


def scientific_unit(value: float) -> float:
    """Return the power of ten that leaves one digit before the point."""
    return 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0


def power(unit: float) -> str:
    """Return a power of ten: ``10⁻¹²``."""
    return "10" + str(round(math.log10(unit))).translate(_SUPERSCRIPTS)


def scientific(value: float) -> str:
    """Return a number such as ``1.72 × 10⁻¹²``."""
    if value == 0:
        return "0"
    unit = scientific_unit(value)
    return f"{value / unit:.2f} × {power(unit)}"

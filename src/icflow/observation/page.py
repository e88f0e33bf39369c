"""One page on one observation: spectrum, best fits, limits, scores and the verdict."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.files import read_json
from icflow.layout import PROFILE, SIMULATIONS, SPECTRUM, SUMMARY
from icflow.observation import words
from icflow.observation.panels import (
    FLUX,
    Bins,
    Fitted,
    components,
    draw_folded,
    draw_residuals,
    draw_unfolded,
)
from icflow.publish.figures import style
from icflow.publish.figures.example_spectra import is_background
from icflow.tables import floats, read_table, strings
from icflow.typing import Floats

if TYPE_CHECKING:
    from astropy.table import Table

# Inch. Verdict and numbers are as high as their lines need, and at least as these.
HEAD_HEIGHT, SPECTRA_HEIGHT, NUMBERS_HEIGHT = 0.7, 4.85, 2.6
ROW_HEIGHT = 2.1  # of a row of panels with scores
NAME_HEIGHT = 0.31  # of the name above the verdict
LINE_HEIGHT = 0.16  # of a line of the verdict
STEP_HEIGHT = 0.147  # of a line of numbers, and what is between them
BINS = 30
WRAP = 104  # letters in a line of the verdict
BAND_UNIT = r"erg cm$^{-2}$ s$^{-1}$"
IN_A_ROW = 4  # panels with scores
MOST_DIGITS = 5  # behind the point, of a value with errors


def draw(folder: Path) -> style.Figure:
    """Draw the page from the files that `icflow.observation.analysis` writes into a folder."""
    summary = read_summary(folder / SUMMARY)
    spectrum = read_table(folder / SPECTRUM, ["module", "energy_lo", "energy_hi", "counts"])
    simulations = read_table(folder / SIMULATIONS, ["model"])
    profile = read_table(folder / PROFILE, ["flux", "delta_cstat"])
    heights = (
        _head_height(summary),
        SPECTRA_HEIGHT,
        ROW_HEIGHT * _answer_rows(summary),
        max(NUMBERS_HEIGHT, STEP_HEIGHT * _steps(summary)),
    )
    figure = style.page(style.DOUBLE_COLUMN, sum(heights))
    parts: Any = figure.subfigures(4, 1, height_ratios=heights)
    head, spectra, answers, numbers = parts
    _head(head, summary)
    _spectra(spectra, summary, spectrum)
    _answers(answers, summary, simulations, profile)
    _numbers(numbers, summary)
    return figure


def read_summary(path: Path) -> dict[str, Any]:
    """Read the summary of an observation.

    Raises
    ------
    IcflowError
        If the file is missing or is not whole.
    """
    return read_json(path, "verdict", "the summary of an observation", "run `icflow observe` again")


# --- words -------------------------------------------------------------------------------


def _head(part: style.SubFigure, summary: Mapping[str, Any]) -> None:
    observation = summary["observation"]
    exposures = ", ".join(
        " ".join(
            w for w in (s["telescope"], s["instrument"], f"{s['exposure'] / 1e3:,.0f} ks") if w
        )
        for s in observation["spectra"]
    )
    height = _head_height(summary)
    part.text(0.01, 1 - 0.02 / height, summary["name"], fontsize=13, fontweight="bold", va="top")
    galactic = f"$N_\\mathrm{{H}}$ = {observation['nH']:g} × 10$^{{22}}$ cm$^{{-2}}$"
    text = f"{exposures}   $z$ = {observation['redshift']:g}   {galactic}"
    part.text(0.99, 1 - 0.035 / height, text, fontsize=7.5, ha="right", va="top", color=style.GREY)
    color = style.IC if summary["decision"] == "IC" else style.BLACK
    look: style.Look = {"fontsize": 8.5, "va": "top", "linespacing": 1.35}
    part.text(0.01, 1 - NAME_HEIGHT / height, _verdict(summary), color=color, **look)


def _verdict(summary: Mapping[str, Any]) -> str:
    """Return the verdict in lines."""
    # Numbers stay with their unit.
    verdict = summary["verdict"].replace(" σ", "\N{NO-BREAK SPACE}σ")
    return textwrap.fill(verdict + ".", WRAP)


def _head_height(summary: Mapping[str, Any]) -> float:
    lines = 1 + _verdict(summary).count("\n")
    return max(HEAD_HEIGHT, NAME_HEIGHT + LINE_HEIGHT * (lines + 0.4))


# --- spectra -----------------------------------------------------------------------------


def _spectra(part: style.SubFigure, summary: Mapping[str, Any], table: Table) -> None:
    """Draw a column for each of the two models: folded, residuals, unfolded."""
    models = [summary["models"][role] for role in ("thermal", "with_ic")]
    touching: dict[str, Any] = {"hspace": 0.0, "wspace": 0.0}
    heights = (3.0, 1.0, 2.2)
    axes = part.subplots(
        *(3, len(models)),
        sharex="col",
        sharey="row",
        squeeze=False,
        height_ratios=heights,
        gridspec_kw=touching,
    )
    bins = Bins(table)
    for (folded, residuals, unfolded), name in zip(axes.T, models, strict=True):
        model = Fitted(table, components(table, name), bins)
        draw_folded(folded, model)
        draw_residuals(residuals, model)
        draw_unfolded(unfolded, model)
        fit = summary["fits"][name]
        numbers = f"${summary['observation']['statistic']}$ = {fit['cstat']:.1f}, {fit['dof']} dof"
        text = f"{name}\n{numbers}\ngoodness {words.percent(fit['goodness'])}"
        style.note(folded, text, x=0.97, ha="right", fontsize=8)
        style.energy_ticks(unfolded, *bins.range)
        unfolded.set_xlabel(style.ENERGY)
    axes[0, 0].set_ylabel(style.RATE)
    axes[1, 0].set_ylabel("Residual (σ)")
    axes[2, 0].set_ylabel(FLUX)
    entries = style.entries(axes[0])
    place: style.Look = {"loc": "outside upper center", "ncols": 5, "columnspacing": 1.4}
    part.legend(entries.values(), entries.keys(), fontsize=7, **place)


# --- answers -----------------------------------------------------------------------------


def _answers(
    part: style.SubFigure, summary: Mapping[str, Any], simulations: Table, profile: Table
) -> None:
    """Draw the profile of the flux and, for each detector, where the observed score lies."""
    names = list(summary["detectors"])
    rows = _answer_rows(summary)
    axes = part.subplots(rows, 1 + IN_A_ROW, squeeze=False)
    _profile(axes[0, 0], summary, profile)
    free = [*axes[0, 1:], *axes[1:, 1:].ravel()]
    for panel, name in zip(free, names, strict=False):
        _scores(panel, summary, simulations, name)
    for panel in (*axes[1:, 0], *free[len(names) :]):
        panel.set_axis_off()
    free[0].set_ylabel("Fraction of spectra")
    entries = style.entries(free[:1])
    thermal = summary["models"]["thermal"]
    title = f"Scores above what {thermal} spectra with the fitted parameters have on average"
    place: style.Look = {"loc": "outside upper right", "ncols": 4, "title_fontsize": 7}
    part.legend(entries.values(), entries.keys(), fontsize=7, title=title, **place)


def _answer_rows(summary: Mapping[str, Any]) -> int:
    """Return the rows of panels that show the scores of all detectors."""
    return math.ceil(len(summary["detectors"]) / IN_A_ROW)


def _profile(axes: style.Axes, summary: Mapping[str, Any], profile: Table) -> None:
    flux = summary["ic_flux"]
    unit = words.scientific_unit(max(float(np.max(profile["flux"])), 1e-300))
    fluxes = floats(profile, "flux") / unit
    axes.plot(fluxes, floats(profile, "delta_cstat"), color=style.IC, lw=1.2)
    low, high = (end / unit for end in flux["interval_90"])
    axes.axvspan(low, high, color=style.IC, alpha=0.12, lw=0)
    axes.axvline(flux["value"] / unit, color=style.IC, lw=0.7, ls=":")
    left: style.Look = {"xytext": (-6, 0), "textcoords": "offset points", "ha": "right"}
    for key, text in (("90", "90 %"), ("3_sigma", "3 σ")):
        limit, rise = flux[f"upper_limit_{key}"] / unit, flux["rise_of_cstat"][key]
        axes.plot(limit, rise, marker="<", color=style.IC, ms=4)
        axes.annotate(text, (limit, rise), fontsize=6.5, va="center", **left)
    axes.set_ylim(0, max(13.0, 1.15 * flux["rise_of_cstat"]["3_sigma"]))
    axes.set_xlim(0, float(np.max(profile["flux"])) / unit)
    axes.set_xlabel(f"IC flux, {_band(flux)}\n({_power(unit)} {BAND_UNIT})", fontsize=7)
    axes.set_ylabel(f"{_delta(summary['observation']['statistic'])} ({flux['model']})")


def _scores(axes: style.Axes, summary: Mapping[str, Any], simulations: Table, name: str) -> None:
    """Draw by how much scores exceed what is expected of spectra without IC."""
    detector, models = summary["detectors"][name], summary["models"]
    excess = floats(simulations, f"excess.{name}")
    drawn = np.array(strings(simulations, "set")) == "replicas"
    with_ic = np.array(strings(simulations, "model")) == models["with_ic"]
    observed = detector["score"] - detector["expected"]
    edges = score_edges(excess[drawn | with_ic], observed)
    # Small numbers in a unit of their own, so that the ticks have room.
    reach = float(np.abs(edges).max())
    exponent = 0 if reach > 0.1 else math.floor(math.log10(reach))
    excess, observed, edges = (x / 10.0**exponent for x in (excess, observed, edges))
    for members, model, color, dashes in (
        (drawn, models["thermal"], style.THERMAL, "-"),
        (with_ic, models["with_ic"], style.IC, "--"),
    ):
        shown = excess[members & np.isfinite(excess)]
        heights = np.histogram(np.clip(shown, edges[0], edges[-1]), edges)[0] / max(shown.size, 1)
        axes.stairs(heights, edges, fill=True, color=color, alpha=0.18)
        axes.stairs(heights, edges, color=color, ls=dashes, lw=1.0, label=f"simulated {model}")
    axes.axvline(float(observed), color=style.BLACK, lw=1.3, label="observed")
    unit = f" (10$^{{{exponent}}}$)" if exponent else ""
    axes.set_xlabel(detector["title"] + unit, fontsize=7)
    axes.locator_params(axis="x", nbins=4)
    axes.set_title(f"false alarm {words.percent(detector['false_alarm'])}", fontsize=7)


def score_edges(scores: Floats, observed: float) -> Floats:
    """Return the edges of bins that hold all but the outermost scores, and the observed one."""
    finite = scores[np.isfinite(scores)]
    low, high = np.quantile(finite, [0.005, 0.995]) if finite.size else (0.0, 1.0)
    if math.isfinite(observed):
        low, high = min(low, observed), max(high, observed)
    margin = 0.05 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, BINS + 1)


# --- numbers -----------------------------------------------------------------------------


def _numbers(part: style.SubFigure, summary: Mapping[str, Any]) -> None:
    """Write the best fits with their errors, the flux and what else was found."""
    rows, lines = _parameter_rows(summary), _lines(summary)
    step = 1 / _steps(summary)
    width = 0.74 / max(len(rows[0]) - 2, 1)
    columns = [0.01, 0.12, *(0.25 + width * i for i in range(len(rows[0]) - 2))]
    bottom = _table(part, rows, columns, 1.1 * step)
    for line in lines:
        part.text(0.01, bottom - 0.4 * step, line, fontsize=7, va="top", linespacing=1.2)
        bottom -= 0.85 * step * (1 + line.count("\n"))


def _lines(summary: Mapping[str, Any]) -> list[str]:
    return [*_flux_lines(summary), *_check_lines(summary)]


def _steps(summary: Mapping[str, Any]) -> float:
    """Return how many lines high the numbers are."""
    lines = sum(1 + line.count("\n") for line in _lines(summary))
    return (1.1 * len(_parameter_rows(summary)) + 0.85 * lines + 0.6) / 0.94


def _table(
    part: style.SubFigure, rows: Sequence[Sequence[str]], columns: Sequence[float], step: float
) -> float:
    """Write rows of text and return where they end."""
    from matplotlib.lines import Line2D

    for number, row in enumerate(rows):
        weight = "bold" if number == 0 else "normal"
        for column, text in zip(columns, row, strict=False):
            part.text(column, 0.97 - step * number, text, fontsize=7, va="top", fontweight=weight)
    end = 0.97 - step * len(rows)
    for y in (0.97 - 0.72 * step, end):
        line = Line2D([0.01, 0.99], [y, y], color=style.GREY, lw=0.5)
        line.set_transform(part.transSubfigure)
        part.add_artist(line)
    return end


TITLES = {
    "kT": "$kT$ (keV)",
    "Abundanc": "$Z$ (solar)",
    "norm": "norm",
}


def _parameter_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return a heading, and a row for each free parameter with its value in every model."""
    models = sorted(summary["fits"], key=lambda name: len(summary["fits"][name]["parameters"]))
    order = list(summary["fits"][models[-1]]["parameters"])
    free = dict.fromkeys(
        name
        for model in models
        for name, entry in summary["fits"][model]["parameters"].items()
        if entry["free"] and not is_background(name)
    )
    names = sorted(free, key=lambda name: order.index(name) if name in order else len(order))
    rows = [["Best fits", "90 %", *models]]
    for name in names:
        component, _, kind = name.rpartition(".")
        entries = [summary["fits"][model]["parameters"].get(name) for model in models]
        rows.append([component, TITLES.get(kind, kind), *(_value(entry) for entry in entries)])
    fits = [summary["fits"][model] for model in models]
    rows.append(
        [
            "",
            f"${summary['observation']['statistic']}$ / dof",
            *(f"{fit['cstat']:.1f} / {fit['dof']}" for fit in fits),
        ]
    )
    rows.append(["", "goodness", *(words.percent(fit["goodness"]) for fit in fits)])
    return rows


def _value(entry: Mapping[str, Any] | None) -> str:
    """Return a value with its errors, rounded to what the errors know."""
    if entry is None:
        return ""
    value, interval = entry["value"], entry["interval_90"]
    if not entry["free"] or interval is None:
        return f"{value:.4g}"
    errors = [None if end is None else abs(end - value) for end in interval]
    sizes = [error for error in errors if error]
    digits = 1 - math.floor(math.log10(min(sizes))) if sizes else 3
    unit = words.scientific_unit(abs(value) or max(sizes)) if sizes else 1.0
    if unit < 1e-2:
        digits = min(max(digits + round(math.log10(unit)), 0), MOST_DIGITS)
        text = _with_errors(value / unit, [e and e / unit for e in errors], digits)
        return f"{text} × {_power(unit)}"
    return _with_errors(value, errors, min(max(digits, 0), MOST_DIGITS))


def _with_errors(value: float, errors: Sequence[float | None], digits: int) -> str:
    below, above = (r"\mathrm{lim}" if error is None else f"{error:.{digits}f}" for error in errors)
    return f"${value:.{digits}f}_{{-{below}}}^{{+{above}}}$"


def _flux_lines(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for model, flux in summary["ic_flux_by_model"].items():
        unit = words.scientific_unit(flux["upper_limit_3_sigma"])
        low, high = (end / unit for end in flux["interval_90"])
        lines.append(
            f"IC flux {_band(flux)} in {model}:  {flux['value'] / unit:.2f} "
            f"({low:.2f} to {high:.2f}, 90 %),  "
            f"{_below(flux, unit)}   {_power(unit)} {BAND_UNIT}"
        )
        if summary["systematics"] is not None and model == summary["ic_flux"]["model"]:
            without = summary["systematics"]["without"]
            right = "if calibration and background were right"
            statistic = summary["observation"]["statistic"]
            limits = (
                _below(without, unit)
                if without["describes"]
                else words.not_described(without, statistic)
            )
            lines.append(f"  {right}:  {limits}")
    field = summary["magnetic_field"]
    if field is not None:
        lines.append(
            f"Magnetic field:  above {field['lower_limit_90']:.2f} µG (90 %),  "
            f"above {field['lower_limit_3_sigma']:.2f} µG (3 σ)"
        )
    return lines


def _below(limits: Mapping[str, float], unit: float) -> str:
    """Return both upper limits."""
    at_90, at_3_sigma = (limits[f"upper_limit_{level}"] / unit for level in ("90", "3_sigma"))
    return f"below {at_90:.2f} (90 %),  below {at_3_sigma:.2f} (3 σ)"


def _check_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return a line for each spectrum, and the warnings."""
    titles = {"redshift": "redshift", "nH": "$N_\\mathrm{H}$"}
    lines = []
    for name in dict.fromkeys(check["spectrum"] for check in summary["checks"]):
        checks = [
            f"{titles[check['parameter']]} {check['given']:g} given, {check['best']:.4g} fitted "
            f"({_delta(check['statistic'])} {check['delta_cstat']:.1f})"
            for check in summary["checks"]
            if check["spectrum"] == name
        ]
        lines.append(f"{f'Checks of {name}' if name else 'Checks'}:  " + ",   ".join(checks))
    return lines + [textwrap.fill(f"Warning: {text}", WRAP + 24) for text in summary["warnings"]]


def _delta(statistic: str) -> str:
    """Return the sign of a difference of the statistic."""
    return f"Δ$({statistic})$" if "+" in statistic else f"Δ${statistic}$"


def _band(flux: Mapping[str, Any]) -> str:
    return "–".join(f"{energy:g}" for energy in flux["energies"]) + " keV"


def _power(unit: float) -> str:
    return f"10$^{{{round(math.log10(unit))}}}$"

"""One page on one observation: spectrum, best fits, limits, scores and the verdict."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from icflow.files import read_json
from icflow.observation import words
from icflow.publish.figures import style
from icflow.publish.figures.example_spectra import (
    Component,
    backgrounds,
    is_background,
    last_component,
)
from icflow.tables import floats, read_table, strings
from icflow.typing import Booleans, Floats

HEIGHT = 8.15  # inch, of all but the panels with scores
ROW_HEIGHT = 2.1  # inch, of a row of these
GROUP_RATIO = 1.04  # upper over lower energy of a drawn bin
DECADES = 4.2  # of count rate that are drawn below the brightest bin
BINS = 30
WRAP = 104  # letters in a line of the verdict
FILES = ("summary.json", "spectrum.ecsv", "simulations.ecsv", "profile.ecsv")
PLASMAS = (
    ("Plasma", style.BLUE, "-"),
    ("Second plasma", style.SKY, "--"),
    ("Second plasma", style.GREEN, ":"),
)
FLUX = r"$E^2 N(E)$ (keV cm$^{-2}$ s$^{-1}$)"
BAND_UNIT = r"erg cm$^{-2}$ s$^{-1}$"
IN_A_ROW = 4  # panels with scores


def draw(folder: Path) -> style.Figure:
    """Draw the page from the files that `icflow.observation.analysis` writes into a folder."""
    summary = read_summary(folder / FILES[0])
    spectrum = read_table(folder / FILES[1], ["module", "energy_lo", "energy_hi", "counts"])
    simulations = read_table(folder / FILES[2], ["model"])
    profile = read_table(folder / FILES[3], ["flux", "delta_cstat"])
    answers_height = ROW_HEIGHT * _answer_rows(summary)
    figure = style.page(style.DOUBLE_COLUMN, HEIGHT + answers_height)
    parts: Any = figure.subfigures(4, 1, height_ratios=(0.7, 4.85, answers_height, 2.6))
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
    part.text(0.01, 0.97, summary["name"], fontsize=13, fontweight="bold", va="top")
    galactic = f"$N_\\mathrm{{H}}$ = {observation['nH']:g} × 10$^{{22}}$ cm$^{{-2}}$"
    text = f"{exposures}   $z$ = {observation['redshift']:g}   {galactic}"
    part.text(0.99, 0.95, text, fontsize=7.5, ha="right", va="top", color=style.GREY)
    # Numbers stay with their unit.
    verdict = summary["verdict"].replace(" σ", "\N{NO-BREAK SPACE}σ")
    verdict = textwrap.fill(verdict + ".", WRAP)
    color = style.IC if summary["decision"] == "IC" else style.BLACK
    part.text(0.01, 0.56, verdict, fontsize=8.5, va="top", color=color, linespacing=1.35)


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
    bins = _Bins(table)
    for (folded, residuals, unfolded), name in zip(axes.T, models, strict=True):
        model = _Model(table, name, bins)
        _folded(folded, model)
        _residuals(residuals, model)
        _unfolded(unfolded, model)
        fit = summary["fits"][name]
        numbers = f"$C$ = {fit['cstat']:.1f}, {fit['dof']} dof"
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


class _Bins:
    """Channels joined for drawing, within each module and across gaps."""

    def __init__(self, table: Table) -> None:
        self.low, self.high = floats(table, "energy_lo"), floats(table, "energy_hi")
        self.module = np.array(strings(table, "module"))
        self.names = list(dict.fromkeys(self.module.tolist()))
        starts: list[int] = []
        for name in self.names:
            here = np.flatnonzero(self.module == name)
            begins = style.log_groups(self.low[here], self.high[here], GROUP_RATIO)
            # A gap in energy begins a new bin.
            gaps = np.flatnonzero(self.low[here][1:] > self.high[here][:-1] * (1 + 1e-6)) + 1
            starts += (here[0] + np.unique(np.concatenate([begins, gaps]))).tolist()
        self.starts = np.array(starts)
        self.stops = np.append(self.starts[1:], len(self.low))
        self.edges = np.column_stack([self.low[self.starts], self.high[self.stops - 1]])
        exposures = table.meta["exposure"]
        exposure = np.array([float(exposures[name]) for name in self.module[self.starts]])
        # From counts to a rate, counts/s/keV.
        self.scale = 1 / (exposure * np.diff(self.edges, axis=1)[:, 0])
        self.centre = np.sqrt(self.edges[:, 0] * self.edges[:, 1])
        self.range = (float(self.low.min()), float(self.high.max()))

    def sum(self, values: Floats) -> Floats:
        """Sum a quantity of the channels over each bin."""
        return np.asarray(np.add.reduceat(values, self.starts))

    def of(self, name: str) -> Booleans:
        """Tell which bins belong to a module."""
        return np.asarray(self.module[self.starts] == name)

    def stairs(self, name: str) -> Floats:
        """Return the edges of the bins of a module, for `Axes.stairs`."""
        here = self.of(name)
        return np.append(self.edges[here, 0], self.edges[here, 1][-1])

    def points(
        self, axes: style.Axes, values: Floats, errors: Floats, which: Booleans, **keywords: Any
    ) -> None:
        """Draw values with their errors in some of the bins, modules told apart by markers."""
        for number, name in enumerate(self.names):
            here = which & self.of(name)
            look: style.Look = {"fmt": style.MARKERS[number], "color": style.BLACK, "capsize": 0}
            look |= {"mfc": style.BLACK if number == 0 else "white"}
            if "label" in keywords:
                look["label"] = f"{keywords['label']} {name}".strip()
            axes.errorbar(self.centre[here], values[here], errors[here], **keywords | look)


class _Model:
    """The best fit of one model beside the data, in counts of each bin."""

    def __init__(self, table: Table, name: str, bins: _Bins) -> None:
        self.bins = bins
        self.parts = components(table, name)
        self.source = [p for p in self.parts if not is_background(p.column.partition("/")[2])]
        self.counts = bins.sum(floats(table, "counts"))
        self.expected = {p.column: bins.sum(floats(table, p.column)) for p in self.parts}
        size = bins.stops - bins.starts
        # Energy² × photons/cm²/s/keV of the source before the response.
        self.emitted = {
            p.column: bins.sum(floats(table, p.column.replace("/", "/unfolded/", 1))) / size
            for p in self.source
        }

    @cached_property
    def total(self) -> Floats:
        """All components together."""
        return np.asarray(sum(self.expected.values()))

    @cached_property
    def folded(self) -> Floats:
        """The components of the source together."""
        return np.asarray(sum(self.expected[p.column] for p in self.source))


def components(table: Table, model: str) -> list[Component]:
    """Return the components of a model, their columns ``MODEL/TERM`` and ``MODEL/background.*``."""
    prefix = f"{model}/"
    names = [
        name.removeprefix(prefix)
        for name in table.colnames
        if name.startswith(prefix) and not name.startswith(f"{prefix}unfolded/")
    ]
    parts, plasmas = [], 0
    for name in names:
        if is_background(name):
            parts += backgrounds([name])
        elif last_component(name) == table.meta.get("ic", ""):
            parts.append(Component(name, "Inverse Compton", style.IC, "-"))
        else:
            parts.append(Component(name, *PLASMAS[min(plasmas, len(PLASMAS) - 1)]))
            plasmas += 1
    return [part._replace(column=prefix + part.column) for part in parts]


def _folded(axes: style.Axes, model: _Model) -> None:
    bins = model.bins
    rate, error = model.counts * bins.scale, np.sqrt(model.counts) * bins.scale
    everywhere = np.ones(rate.size, dtype=bool)
    bins.points(axes, rate, error, everywhere, ms=1.8, lw=0.6, zorder=4, label="Data")
    best_fit: style.Look = {"color": style.BLACK, "lw": 0.7, "baseline": None, "zorder": 3}
    for number, module in enumerate(bins.names):
        here, edges = bins.of(module), bins.stairs(module)
        for part in model.parts:
            look = part.look | {"lw": 1.0 if number == 0 else 0.5, "zorder": 2}
            look["label"] = part.title if number == 0 else None
            axes.stairs((model.expected[part.column] * bins.scale)[here], edges, **look)
        label = "Best fit" if number == 0 else None
        axes.stairs((model.total * bins.scale)[here], edges, label=label, **best_fit)
    axes.set_yscale("log")
    highest = float(rate.max())
    axes.set_ylim(highest / 10**DECADES, highest * 3)


def _residuals(axes: style.Axes, model: _Model) -> None:
    residual = (model.counts - model.total) / np.sqrt(np.maximum(model.total, 1e-9))
    everywhere = np.ones(residual.size, dtype=bool)
    model.bins.points(axes, residual, np.ones(residual.size), everywhere, ms=1.6, lw=0.5)
    axes.axhline(0, color=style.GREY, lw=0.7)
    reach = max(4.2, 1.1 * float(np.abs(residual).max()) + 1)
    axes.set_ylim(-reach, reach)


def _unfolded(axes: style.Axes, model: _Model) -> None:
    """Draw the source as emitted; points are data over folded times unfolded model."""
    bins = model.bins
    total = np.asarray(sum(model.emitted.values()))
    rest = model.counts - (model.total - model.folded)
    scale = total / np.maximum(model.folded, 1e-12)
    error = np.sqrt(np.maximum(model.counts, 1.0)) * scale
    seen = rest * scale > error
    bins.points(axes, rest * scale, error, seen, ms=1.8, lw=0.6, zorder=4)
    limit = np.maximum(rest, 0) * scale + 2 * error
    for module in bins.names:
        faint = bins.of(module) & ~seen
        look: style.Look = {"ls": "", "marker": "v", "color": style.GREY, "ms": 2.2, "zorder": 1}
        axes.plot(bins.centre[faint], limit[faint], **look)
    first, edges = bins.of(bins.names[0]), bins.stairs(bins.names[0])
    for part in model.source:
        axes.stairs(model.emitted[part.column][first], edges, lw=1.0, **part.look)
    axes.stairs(total[first], edges, color=style.BLACK, lw=0.7, baseline=None, zorder=3)
    axes.set_yscale("log")
    top = float(total.max())
    lowest = min([float(total[first].min()), top / 30])
    axes.set_ylim(max(lowest / 5, top / 1e5), top * 2.5)


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
    axes.set_ylabel(f"Δ$C$ ({flux['model']})")


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
    rows = _parameter_rows(summary)
    lines = [*_flux_lines(summary), *_check_lines(summary)]
    step = 0.94 / (1.1 * len(rows) + 0.85 * sum(1 + line.count("\n") for line in lines) + 0.6)
    width = 0.74 / max(len(rows[0]) - 2, 1)
    columns = [0.01, 0.12, *(0.25 + width * i for i in range(len(rows[0]) - 2))]
    bottom = _table(part, rows, columns, 1.1 * step)
    for line in lines:
        part.text(0.01, bottom - 0.4 * step, line, fontsize=7, va="top", linespacing=1.2)
        bottom -= 0.85 * step * (1 + line.count("\n"))


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
    rows.append(["", "$C$ / dof", *(f"{fit['cstat']:.1f} / {fit['dof']}" for fit in fits)])
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
    if abs(value) < 1e-2 and sizes:
        unit = words.scientific_unit(abs(value) or max(sizes))
        digits = max(digits + round(math.log10(unit)), 0)
        text = _with_errors(value / unit, [e and e / unit for e in errors], digits)
        return f"{text} × {_power(unit)}"
    return _with_errors(value, errors, min(max(digits, 0), 5))


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
            f"({low:.2f} to {high:.2f}, 90 %),  below {flux['upper_limit_90'] / unit:.2f} (90 %),  "
            f"below {flux['upper_limit_3_sigma'] / unit:.2f} (3 σ)   "
            f"{_power(unit)} {BAND_UNIT}"
        )
    field = summary["magnetic_field"]
    if field is not None:
        lines.append(
            f"Magnetic field:  above {field['lower_limit_90']:.2f} µG (90 %),  "
            f"above {field['lower_limit_3_sigma']:.2f} µG (3 σ)"
        )
    return lines


def _check_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return a line for each spectrum, and the warnings."""
    titles = {"redshift": "redshift", "nH": "$N_\\mathrm{H}$"}
    lines = []
    for name in dict.fromkeys(check["spectrum"] for check in summary["checks"]):
        checks = [
            f"{titles[check['parameter']]} {check['given']:g} given, {check['best']:.4g} fitted "
            f"(Δ$C$ {check['delta_cstat']:.1f})"
            for check in summary["checks"]
            if check["spectrum"] == name
        ]
        lines.append(f"{f'Checks of {name}' if name else 'Checks'}:  " + ",   ".join(checks))
    return lines + [textwrap.fill(f"Warning: {text}", WRAP + 24) for text in summary["warnings"]]


def _band(flux: Mapping[str, Any]) -> str:
    return "–".join(f"{energy:g}" for energy in flux["energies"]) + " keV"


def _power(unit: float) -> str:
    return f"10$^{{{round(math.log10(unit))}}}$"

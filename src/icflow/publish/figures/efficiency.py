"""Detection efficiency in the plane of thermal and IC norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icflow.config import Config, Detection
from icflow.detection.base import SEES
from icflow.detection.columns import TRUTH
from icflow.detection.roc import auc
from icflow.errors import IcflowError
from icflow.publish.figures import judged, style
from icflow.publish.figures.base import FigureData
from icflow.publish.figures.dependence import observables
from icflow.tables import floats
from icflow.typing import Booleans, Floats, Integers

CONTOURS = {0.5: "--", 0.9: "-"}
WIDTH = 0.1  # of the kernel, as a fraction of the range of either norm
FINE = 60  # points of the smoothed plane along each axis
TICKS = 3  # steps between the numbers of an axis, at most: the panels are narrow
# Where the kernel finds less than this many spectra it draws no contour.
FEWEST = 5.0


@dataclass(frozen=True)
class Plane:
    """Spectra with IC in the plane of the norms, in units of its ranges.

    Attributes
    ----------
    x, y : (n,) float
        Thermal and IC norm, 0 to 1.
    called : (n,) float
        How surely each is called IC: 1 or 0, or a fraction for scores equal to
        the threshold.
    """

    x: Floats
    y: Floats
    called: Floats

    def binned(self, bins: int) -> tuple[Floats, Integers]:
        """Return efficiency and number of spectra, (bins of y, bins of x); NaN without spectra."""
        columns, rows = (np.minimum((v * bins).astype(int), bins - 1) for v in (self.x, self.y))
        cell = rows * bins + columns
        number = np.bincount(cell, minlength=bins**2)
        with np.errstate(invalid="ignore"):
            efficiency = np.bincount(cell, self.called, bins**2) / number
        return efficiency.reshape(bins, bins), number.reshape(bins, bins)

    def smoothed(self) -> tuple[Floats, Floats]:
        """Return points along an axis, and the efficiency around each pair of them.

        The mean over spectra weighted with a Gaussian of `WIDTH`; NaN where
        there are too few of them to say.
        """
        points = np.linspace(0, 1, FINE)
        near_x, near_y = (
            np.exp(-0.5 * ((points[:, None] - values) / WIDTH) ** 2) for values in (self.x, self.y)
        )
        total = near_y @ near_x.T
        with np.errstate(invalid="ignore"):
            efficiency = (near_y * self.called) @ near_x.T / total
        return points, np.where(total >= FEWEST, efficiency, np.nan)


def best_of_each_class(
    detection: Detection, scores: dict[str, Floats], is_ic: Booleans
) -> dict[str, str]:
    """Return for each class of detectors the one with the largest area under the curve."""
    return {
        key: max(names, key=lambda name: np.nan_to_num(auc(scores[name], is_ic)))
        for key, names in judged.groups(detection).items()
    }


def false_alarm(detection: Detection) -> float:
    """Return the false-alarm rate to show, the one of those measured that is closest to 5 %."""
    return min(detection.false_alarms, key=lambda rate: abs(rate - 0.05), default=0.05)


def called(score: Floats, is_ic: Booleans, false_alarm: float) -> Floats:
    """Return how surely each spectrum is called IC at a false-alarm rate of the sample.

    The mean over the spectra with IC is the recall at that rate.
    """
    score = np.where(np.isnan(score), -np.inf, score)
    thermal = np.sort(score[~is_ic])[::-1]
    allowed = false_alarm * thermal.size
    threshold = thermal[min(int(allowed), thermal.size - 1)]
    above, equal = np.sum(thermal > threshold), np.sum(thermal == threshold)
    part = (allowed - above) / equal
    return np.where(score > threshold, 1.0, np.where(score == threshold, part, 0.0))


def draw(data: FigureData) -> style.Figure:
    """Draw the plane for the best detector of each class, at one false-alarm rate."""
    from matplotlib.ticker import MaxNLocator

    detection = data.detection
    table, is_ic = data.scores(detection.detectors, "score")
    norm = observables(table).get("norm")
    if norm is None or f"{TRUTH}ic_norm" not in table.colnames:
        raise IcflowError(
            f"{data.paths[0]}: has no true norms of plasma and IC to bin by; take the figure "
            "efficiency out of the targets for scenarios without"
        )
    if not is_ic.any() or is_ic.all():
        raise IcflowError(
            f"{data.paths[0]}: the efficiency needs test spectra of both classes; name datasets of "
            "both under detection.test"
        )
    scores = {name: floats(table, name) for name in detection.detectors}
    shown = best_of_each_class(detection, scores, is_ic)
    norms = [norm[is_ic], floats(table, f"{TRUTH}ic_norm")[is_ic]]
    ranges = [_range(values) for values in norms]
    x, y = ((v - low) / (high - low) for v, (low, high) in zip(norms, ranges, strict=True))
    figure, axes = style.grid(1, len(shown), style.DOUBLE_COLUMN, 2.9, sharex=True, sharey=True)
    rate = false_alarm(detection)
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(TICKS))
    for panel, (key, name) in zip(axes[0], shown.items(), strict=True):
        plane = Plane(x, y, called(scores[name], is_ic, rate)[is_ic])
        image = _panel(panel, plane, data.bins, ranges)
        judged.note(panel, judged.unscored(scores[name], is_ic))
        panel.set_title(f"{detection.detectors[name].title}\n({SEES[key].note})")
        panel.set_xlabel(f"Thermal {style.label('norm')}")
    axes[0, 0].set_ylabel("IC norm (10$^{-3}$ photons keV$^{-1}$ cm$^{-2}$ s$^{-1}$)")
    label = f"Fraction detected at {100 * rate:g} % false alarms"
    figure.colorbar(image, ax=axes[0].tolist(), label=label, pad=0.02)
    return figure


def _range(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _panel(
    axes: style.Axes, plane: Plane, bins: int, ranges: Sequence[tuple[float, float]]
) -> style.AxesImage:
    (left, right), (low, high) = ranges[0], [1e3 * end for end in ranges[1]]
    efficiency, number = plane.binned(bins)
    axes.set_facecolor("white")
    image = axes.imshow(
        np.ma.masked_invalid(efficiency),
        origin="lower",
        extent=(left, right, low, high),
        aspect="auto",
        cmap="Blues",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    _numbers(axes, efficiency, number, image)
    points, smooth = plane.smoothed()
    _contours(axes, left + points * (right - left), low + points * (high - low), smooth)
    return image


def _numbers(
    axes: style.Axes, efficiency: Floats, number: Integers, image: style.AxesImage
) -> None:
    """Write into each bin how many spectra it holds, on its own ground where a contour passes."""
    left, right, low, high = image.get_extent()
    bins = len(number)
    width, height = (right - left) / bins, (high - low) / bins
    for (row, column), value in np.ndenumerate(efficiency):
        x, y = left + (column + 0.5) * width, low + (row + 0.5) * height
        if number[row, column] == 0:
            _hatch(axes, x - width / 2, y - height / 2, width, height)
        else:
            text, color = f"{number[row, column]}", "white" if value > 0.6 else style.BLACK
            place: style.Look = {"ha": "center", "va": "center", "zorder": 5}
            ground = {"fc": image.cmap(float(value)), "ec": "none", "pad": 1.2}
            axes.text(x, y, text, fontsize=7, color=color, bbox=ground, **place)


def _hatch(axes: style.Axes, x: float, y: float, width: float, height: float) -> None:
    """Mark a bin without spectra."""
    from matplotlib.patches import Rectangle

    hatched: style.Look = {"fill": False, "hatch": "////", "edgecolor": style.GREY, "lw": 0}
    axes.add_patch(Rectangle((x, y), width, height, **hatched))


def _contours(axes: style.Axes, x: Floats, y: Floats, smooth: Floats) -> None:
    """Draw the contours that there are."""
    from matplotlib.patheffects import withStroke

    finite = smooth[np.isfinite(smooth)]
    dashes = {
        level: ls
        for level, ls in CONTOURS.items()
        if (finite < level).any() and (finite > level).any()
    }
    if dashes:
        looks: style.Look = {"linewidths": 1.4, "linestyles": list(dashes.values())}
        lines = axes.contour(x, y, smooth, list(dashes), colors=style.VERMILLION, **looks)
        lines.set_path_effects([withStroke(linewidth=2.6, foreground="white")])


def _caption(config: Config) -> str:
    rate = false_alarm(config.detection)
    return (
        "Fraction of the test spectra with inverse Compton emission that is detected, in "
        f"{config.figures.bins} × {config.figures.bins} bins of the norms of plasma and inverse "
        f"Compton emission, at a false-alarm rate of {100 * rate:g} % of the thermal test spectra; "
        "for the detector with the largest area under the curve of each class. Numbers: spectra in "
        "a bin, hatched without any. Lines: 50 % (dashed) and 90 % (solid) after smoothing with a "
        f"Gaussian whose standard deviation is {100 * WIDTH:g} % of either range; none are "
        f"drawn where it finds fewer than {FEWEST:g} spectra."
    )


FIGURE = judged.kind(
    draw=draw,
    caption=_caption,
    alt=(
        "Maps of the fraction of spectra with inverse Compton emission that is detected against "
        "thermal norm and inverse Compton norm, one per class of detectors, with the number of "
        "spectra in every bin and contours of 50 and 90 per cent."
    ),
    title="Detection efficiency",
)

"""How figures look, and how they are saved: for a journal, byte for byte the same.

Widths are those of the AAS journals. Colours are those of Okabe & Ito (2008,
"Color universal design"), which readers with any colour vision tell apart, without the yellow,
which is hard to see on white. What the paper draws in red or brown is crimson, where they have
vermillion, or a dark brown: these two differ in lightness, so that they too are told apart with
any colour vision. Markers and line styles repeat what colours say, for black-and-white prints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.errors import IcflowError
from icflow.files import atomic_path
from icflow.typing import AnyArray, Floats, Indices

if TYPE_CHECKING:
    # Loaded when a figure is drawn; modules that draw one name its types by this module.
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.figure import SubFigure as SubFigure
    from matplotlib.image import AxesImage as AxesImage

# How something is drawn: keywords of matplotlib.
Look = dict[str, Any]

DOUBLE_COLUMN = 7.1  # inch

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#8C8C8C"
BROWN = "#6B4400"
RED = "#DC143C"

THERMAL, IC = BLUE, RED
SERIES = (BLUE, VERMILLION, GREEN, BLACK, PURPLE, ORANGE, SKY, BROWN)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))

# Numbers of a logarithmic axis within this range are no powers of ten.
PLAIN = 1e-3, 1e4

RATE = r"Rate (counts s$^{-1}$ keV$^{-1}$)"
SQUARED_RATE = r"(counts s$^{-1}$ keV$^{-1}$)$^2$"
ENERGY = "Energy (keV)"

# Names and units of the quantities that label axes; others keep their name.
QUANTITIES = {
    "kT": "$kT$ (keV)",
    "Z": "$Z$ (solar)",
    "z": "redshift $z$",
    "norm": "norm (10$^{14}$ cm$^{-5}$)",
}

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.2,
    "axes.linewidth": 0.6,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "axes.formatter.useoffset": False,
    "errorbar.capsize": 1.5,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "icflow",
    "path.simplify": True,
}

# Everything that would say when, or with what, a file was made.
_METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}


@contextmanager
def context() -> Iterator[None]:
    """Draw and save within this style, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)  # type: ignore[arg-type]
        yield


def grid(
    rows: int, columns: int, width: float, height: float, **keywords: Any
) -> tuple[Figure, AnyArray]:
    """Return a figure of `width` × `height` inch and its axes, (rows, columns)."""
    figure = page(width, height)
    return figure, figure.subplots(rows, columns, squeeze=False, **keywords)


def panels(
    number: int, per_row: int, height: tuple[float, float], **keywords: Any
) -> tuple[Figure, AnyArray]:
    """Return a figure with so many panels in rows, the places that are left over hidden.

    Parameters
    ----------
    number, per_row : int
        Panels, and how many of them stand in a row at most.
    height : pair of float
        Of a row, and of what all rows need besides, inch.
    keywords
        For `matplotlib.figure.Figure.subplots`.
    """
    rows, columns = -(-number // per_row), min(number, per_row)
    figure, axes = grid(rows, columns, DOUBLE_COLUMN, height[0] * rows + height[1], **keywords)
    for panel in axes.flat[number:]:
        panel.set_visible(False)
    return figure, axes


def page(width: float, height: float) -> Figure:
    """Return an empty figure of `width` × `height` inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from icflow.publish.figures.shown import ShownFigure

    # Margins in inch, as small as labels allow.
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02)
    figure = ShownFigure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure in the format of the path's suffix; the bytes hold no date."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata=_METADATA[path.suffix.lower()])


def _lay_out(figure: Figure) -> None:
    """Put everything in its place once, for all formats."""
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine(None)  # "none" would have every format drawn once more, unseen


def check_suffix(path: Path) -> None:
    """Check that figures can be written to a file of this name.

    Raises
    ------
    IcflowError
        If its suffix is unknown.
    """
    if path.suffix.lower() not in _METADATA:
        formats = ", ".join(_METADATA)
        raise IcflowError(f"{path}: figures are written as {formats}; choose one of these suffixes")


def write(draw: Callable[[], Figure], dpi: int, outputs: Sequence[Path]) -> None:
    """Draw a figure within this style and write it.

    Parameters
    ----------
    draw : callable
        Gives the figure.
    dpi : int
        Resolution of bitmaps.
    outputs : sequence of path
        Files to write, each in the format of its suffix.

    Raises
    ------
    IcflowError
        If what `draw` reads is missing or wrong, or an output has an unknown suffix.
    """
    for path in outputs:
        check_suffix(path)
    with context():
        figure = draw()
        _lay_out(figure)
        for path in outputs:
            save(figure, path, dpi)


def log_axis(axes: Axes) -> None:
    """Make the x axis logarithmic, with few enough numbers that they stay apart."""
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    decades = np.log10(high / low)
    written = (1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2.2 else (1,)
    plain = low > 0.9 * PLAIN[0] and high < 1.1 * PLAIN[1]

    def text(value: float, _: int) -> str:
        mantissa, exponent = f"{value:.0e}".split("e")
        if int(mantissa) not in written:
            return ""
        if plain:
            return f"{value:,g}"
        power = f"10$^{{{int(exponent)}}}$"
        return power if mantissa == "1" else rf"{mantissa}$\times${power}"

    axes.xaxis.set_major_formatter(FuncFormatter(text))
    axes.xaxis.set_minor_formatter(FuncFormatter(text))


def cycle(series: Sequence[Any], position: int) -> Any:
    """Return a colour, marker or dash by the position of what it marks."""
    return series[position % len(series)]


def look(position: int) -> Look:
    """Return colour, marker and dash of a line by its position among others."""
    return {
        "color": cycle(SERIES, position),
        "marker": cycle(MARKERS, position),
        "ls": cycle(DASHES, position),
    }


def error_bars(axes: Axes, x: Floats, estimates: Floats, **keywords: Any) -> None:
    """Draw values with their intervals, (3, n): value, lower and upper end; see `errorbar`."""
    axes.errorbar(x, estimates[0], lengths(estimates), elinewidth=0.8, **keywords)


def lengths(estimates: Floats) -> Floats:
    """Return how far intervals reach below and above their values, (2, n); see `error_bars`."""
    value, low, high = estimates
    return np.asarray(np.clip(np.stack([value - low, high - value]), 0, None))


def capital(text: str) -> str:
    """Return a label with a capital first letter, unless it begins with a symbol."""
    return text if text.startswith("$") else text[:1].upper() + text[1:]


def signed_fixed(number: float, digits: int = 1) -> str:
    """Return a number with its sign, a real minus, and as many decimals; zero has no sign."""
    text = f"{number:+z.{digits}f}".replace("-", "−")
    return text if float(text.replace("−", "-")) else text[1:]


def whole_percent(fraction: float) -> str:
    """Return a fraction in whole per cent."""
    return f"{100 * fraction:.0f} %"


def within(value: float, scatter: float) -> str:
    """Return a number with its scatter, both with as many decimals as two digits of that need."""
    decimals = 1 - math.floor(math.log10(scatter)) if scatter > 0 else 2
    decimals = min(max(decimals, 0), 6)
    return f"{signed_fixed(value, decimals)} ± {scatter:.{decimals}f}"


def label(name: str) -> str:
    """Return the axis label of a quantity, with its unit; lower case, to follow a word."""
    return QUANTITIES.get(name, name)


def note(axes: Axes, text: str, x: float = 0.04, y: float = 0.95, **keywords: Any) -> None:
    """Write inside the axes, by default in the upper left corner, legible above what is drawn."""
    options: dict[str, Any] = {"ha": "left", "va": "top", "fontsize": 7, "zorder": 5}
    options["bbox"] = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
    axes.text(x, y, text, transform=axes.transAxes, **(options | keywords))


def legend_above(figure: Figure, axes: Axes, most: int | None = None) -> None:
    """Name what some axes show above all axes, in one row or with at most so many in a row."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(len(labels), 1) if most is None else min(len(labels), most)
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def entries(panels: Sequence[Axes]) -> dict[str, Any]:
    """Return the entries of a legend of several panels: what is drawn, by its label."""
    drawn: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        drawn |= dict(zip(labels, handles, strict=True))
    return drawn


def energy_ticks(axes: Axes, low: float, high: float) -> None:
    """Mark round energies (keV) on a logarithmic axis and write them out."""
    from matplotlib.ticker import NullFormatter

    ticks = [t for t in (2, 3, 5, 10, 20, 30, 50, 80, 120) if low * 0.999 <= t <= high * 1.001]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick}" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())


def log_groups(low: Floats, high: Floats, ratio: float) -> Indices:
    """Return where groups of channels begin that span at least `ratio` in energy.

    Parameters
    ----------
    low, high : (n,) float
        Energy bounds of consecutive channels, keV; the first must be positive.
    ratio : float
        Least upper over lower energy of a group; the last one may be narrower.

    Returns
    -------
    (m,) int
        Positions of the first channels, for `numpy.add.reduceat`.
    """
    starts = [0]
    while low[starts[-1]] * ratio <= high[-1]:
        # A hair of tolerance, so that rounding does not add a channel here and there.
        end = int(np.searchsorted(high, low[starts[-1]] * ratio * (1 - 1e-9)))
        if end + 1 >= low.size:
            break
        starts.append(end + 1)
    return np.array(starts, dtype=np.intp)


def stairs_edges(low: Floats, high: Floats, starts: Indices) -> Floats:
    """Return the m + 1 edges of groups of channels, for `Axes.stairs`."""
    return np.append(low[starts], high[-1])

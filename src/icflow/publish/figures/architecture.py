"""Figure 2: the autoencoder, drawn from the configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icflow.config import Architecture, Config
from icflow.errors import IcflowError
from icflow.publish.figures import base, style
from icflow.publish.figures.base import FigureData, FigureKind, label_order
from icflow.tables import read_table, strings

HEIGHT = 2.7  # inch
GAP = 0.2  # inch between blocks

KINDS = {
    "spectrum": (style.BLACK, "Spectrum"),
    "convolution": (style.GREY, "Convolution"),
    "down": (style.BLUE, "Residual stage"),
    "dense": (style.GREEN, "Dense layer"),
    "latent": (style.VERMILLION, "Latents"),
    "up": (style.SKY, "Transposed stage"),
}


@dataclass(frozen=True)
class Block:
    """One block of the drawing: its kind, length (units or bins) and channels."""

    kind: str
    length: int
    channels: int = 1


def draw(data: FigureData) -> style.Figure:
    """Draw encoder, latents and decoder from left to right."""
    # There are as many rows for each spectrum as the network has inputs.
    length = _input_length(data.paths[0])
    figure, axes = style.grid(1, 1, style.DOUBLE_COLUMN, HEIGHT)
    parts = blocks(data.autoencoder.architecture, length)
    _schematic(axes[0, 0], parts, label_order(data.autoencoder))
    return figure


def _input_length(path: Path) -> int:
    table = read_table(path, ["dataset", "index"])
    if len(table) == 0:
        raise IcflowError(f"{path}: holds no spectra; score the network again")
    first = np.array(strings(table, "dataset")) == strings(table, "dataset")[0]
    first &= np.asarray(table["index"]) == table["index"][0]
    return int(first.sum())


def blocks(architecture: Architecture, length: int) -> list[Block]:
    """Return the blocks from input to output for spectra of `length` channels.

    They are those of `icflow.networks.network.PublishedAutoencoder`, each with
    the shape of what it gives.
    """
    widths = architecture.widths
    down = [
        Block("down" if number else "convolution", math.ceil(length / 2 ** (number + 1)), width)
        for number, width in enumerate(widths)
    ]
    coarse = math.ceil(length / 2 ** (len(widths) - 1))
    up = [
        Block("up", coarse * 2 ** (number + 1), width)
        for number, width in enumerate(reversed(widths[:-1]))
    ]
    return [
        Block("spectrum", length),
        *down,
        *(Block("dense", units) for units in architecture.dense),
        Block("latent", architecture.latents),
        Block("dense", coarse, widths[-1]),
        *up,
        Block("spectrum", length),
    ]


def _schematic(axes: style.Axes, parts: Sequence[Block], labels: Sequence[str]) -> None:
    widths = np.array([0.1 + 0.045 * math.log2(part.channels) for part in parts])
    heights = [_height(part) for part in parts]
    lefts = np.cumsum([0.0, *(widths[:-1] + GAP)])
    centres = lefts + widths / 2
    for part, left, width, height in zip(parts, lefts, widths, heights, strict=True):
        _block(axes, part, left, width, height)
    for left, width in zip(lefts[:-1], widths, strict=False):
        _arrow(axes, left + width, left + width + GAP)
    total, top = lefts[-1] + widths[-1], max(heights) / 2
    latents = next(n for n, part in enumerate(parts) if part.kind == "latent")
    middle = centres[latents]
    _name_latents(axes, middle, heights[latents] / 2, top, labels)
    for x, text in ((0.5 * middle, "Encoder"), (0.5 * (middle + total), "Decoder")):
        axes.text(x, top + 0.12, text, ha="center", va="bottom", fontsize=8)
    axes.set(xlim=(-0.15, total + 0.15), ylim=(-top - 0.55, top + 0.3))
    axes.set_aspect("equal")
    axes.axis("off")
    _legend(axes, {part.kind for part in parts})


def _block(axes: style.Axes, part: Block, left: float, width: float, height: float) -> None:
    """Draw a block, and write below it how large it is."""
    from matplotlib.patches import FancyBboxPatch

    corners = "round,pad=0,rounding_size=0.03"
    place = (left, -height / 2)
    colors = _colors(part.kind)
    axes.add_patch(FancyBboxPatch(place, width, height, boxstyle=corners, lw=0.8, **colors))
    size = f"{part.channels}×{part.length}" if part.channels > 1 else f"{part.length}"
    x, y = left + width / 2, -height / 2 - 0.05
    axes.text(x, y, size, ha="center", va="top", fontsize=7, rotation=90)


def _arrow(axes: style.Axes, start: float, end: float) -> None:
    arrow = {"arrowstyle": "-|>", "lw": 0.6, "color": style.BLACK, "mutation_scale": 5}
    shrink = {"shrinkA": 0.5, "shrinkB": 0.5}
    axes.annotate("", (end, 0), (start, 0), arrowprops=arrow | shrink)


def _legend(axes: style.Axes, kinds: set[str]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(label=title, **_colors(kind)) for kind, (_, title) in KINDS.items() if kind in kinds
    ]
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _colors(kind: str) -> style.Look:
    color = KINDS[kind][0]
    return {"fc": color, "ec": color, "alpha": 0.75}


def _height(part: Block) -> float:
    """Height in inch, linear in the logarithm of the length."""
    return 0.1 + 0.155 * math.log2(part.length)


def _name_latents(
    axes: style.Axes, x: float, bottom: float, top: float, labels: Sequence[str]
) -> None:
    """Write the names of the latents above the blocks, with a line down to theirs."""
    names = ", ".join(f"${name}$" if len(name) <= 2 else name for name in labels)
    axes.text(x, top + 0.12, names, ha="center", va="bottom", fontsize=8)
    axes.plot([x, x], [bottom + 0.04, top + 0.08], color=style.VERMILLION, lw=0.7, ls=":")


def _caption(config: Config) -> str:
    architecture = config.autoencoder.architecture
    low, high = config.autoencoder.energies
    labels = ", ".join(label_order(config.autoencoder))
    return (
        f"The autoencoder. Input: rates of the channels between {low:g} and {high:g} keV; the "
        f"numbers are channels × length after each convolution or stage (kernel "
        f"{architecture.kernel}, stride 2, batch normalisation, GELU; residual connections in "
        "encoder and decoder) and units of dense layers. A convolution of width 1 gives the "
        f"output. The {architecture.latents} latents of the conditional autoencoder are trained to "
        f"equal the scaled labels {labels}."
    )


FIGURE = FigureKind(
    sections=("autoencoder",),
    inputs=base.examples,
    draw=draw,
    caption=_caption,
    alt=(
        "Schematic of the autoencoder from left to right: the input spectrum passes convolutional "
        "stages of growing channel number and shrinking length and dense layers down to the "
        "latents; the decoder leads back through one dense layer and transposed convolutional "
        "stages to the output spectrum."
    ),
)

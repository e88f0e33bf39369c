"""Figure 2: how the autoencoder is trained and used, and its layers, from the configuration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icflow.config import Architecture, Config
from icflow.errors import IcflowError
from icflow.publish.figures import base, style
from icflow.publish.figures.base import FigureData, FigureKind, label_order
from icflow.publish.figures.diagrams import TESTING, TRAINING, Box, arrow, canvas
from icflow.tables import read_table, strings

HEIGHTS = (2.15, 3.0, 1.9)  # inch, of the flow, the network and its stages

KINDS = {
    "spectrum": (style.BLACK, "Spectrum"),
    "convolution": (style.GREY, "Convolution"),
    "down": (style.BLUE, "Residual stage"),
    "dense": (style.GREEN, "Dense layer"),
    "latent": (style.VERMILLION, "Latents"),
    "up": (style.SKY, "Transposed residual stage"),
}


@dataclass(frozen=True)
class Block:
    """One block of the drawing: its kind, length (units or bins) and channels."""

    kind: str
    length: int
    channels: int = 1


def draw(data: FigureData) -> style.Figure:
    """Draw the flow of training and testing, the network, and the layers of its stages."""
    # There are as many rows for each spectrum as the network has inputs.
    length = _input_length(data.paths[0])
    ratios = {"height_ratios": HEIGHTS}
    figure, axes = style.grid(3, 1, style.DOUBLE_COLUMN, sum(HEIGHTS), **ratios)
    flow, network, stages = axes[:, 0]
    labels, architecture = label_order(data.autoencoder), data.autoencoder.architecture
    _flow(flow, labels)
    _schematic(network, blocks(architecture, length))
    _stages(stages, architecture.kernel)
    return figure


def _input_length(path: Path) -> int:
    table = read_table(path, ["dataset", "index"])
    if len(table) == 0:
        raise IcflowError(f"{path}: holds no spectra; score the network again")
    first = np.array(strings(table, "dataset")) == strings(table, "dataset")[0]
    first &= np.asarray(table["index"]) == table["index"][0]
    return int(first.sum())


# --- (a) training and testing ---------------------------------------------------------


def _flow(axes: style.Axes, labels: Sequence[str]) -> None:
    """Draw what is compared with what: dashed in training, solid in testing."""
    width, middle, lift = style.DOUBLE_COLUMN, 0.95, 0.09
    canvas(axes, width, HEIGHTS[0], "a")
    chain = [
        Box(0.75, middle, 1.05, 0.62, "Spectrum", style.BLACK),
        Box(2.2, middle, 0.9, 0.62, "Encoder", style.BLUE),
        Box(3.55, middle, 0.9, 0.62, "Latents $u$", style.VERMILLION),
        Box(4.9, middle, 0.9, 0.62, "Decoder", style.SKY),
        Box(6.35, middle, 1.05, 0.62, "Reconstruction", style.BLACK),
    ]
    for first, second in itertools.pairwise(chain):
        for dashes, y in ((TRAINING, middle + lift), (TESTING, middle - lift)):
            arrow(axes, [(first.right, y), (second.left, y)], dashes)
    names = ", ".join(f"${name}$" if len(name) <= 2 else name for name in labels)
    parameters = Box(3.55, 1.63, 2.3, 0.3, f"apec parameters $θ$: {names}", style.GREEN)
    error = "$R_a$: mean squared difference; above the threshold: IC"
    outcome = Box(3.55, 0.22, 4.1, 0.28, error, style.ORANGE)
    for box in (*chain, parameters, outcome):
        box.draw(axes)
    spectrum, _, latents, _, reconstruction = chain
    arrow(axes, [(latents.x, parameters.bottom), (latents.x, latents.top)], TRAINING)
    note: style.Look = {"fontsize": 7, "ha": "left", "va": "center"}
    axes.text(latents.x + 0.07, 1.37, r"$L_c = \frac{1}{N}\sum|u - \theta|_1$", **note)
    ends = spectrum.x, reconstruction.x
    top = 1.97
    arrow(
        axes,
        [(ends[0], spectrum.top), (ends[0], top), (ends[1], top), (ends[1], reconstruction.top)],
        TRAINING,
    )
    above: style.Look = {"fontsize": 7, "ha": "center", "va": "center", "backgroundcolor": "white"}
    text = (
        r"Training (dashed), 2T spectra only: $L = L_r + \lambda L_c$, $L_r$ the mean squared error"
    )
    axes.text(latents.x, top, text, **above)
    for box, side in ((spectrum, outcome.left), (reconstruction, outcome.right)):
        arrow(axes, [(box.x, box.bottom), (box.x, outcome.y), (side, outcome.y)])
    axes.text(0.82, 0.34, "Testing (solid)", fontsize=7, ha="left", va="center")


# --- (b) the network --------------------------------------------------------------------


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


def _schematic(axes: style.Axes, parts: Sequence[Block]) -> None:
    widths = np.array([0.1 + 0.045 * math.log2(part.channels) for part in parts])
    heights = [_height(part) for part in parts]
    # Blocks and gaps fill the width, gaps at least a quarter of it.
    width = style.DOUBLE_COLUMN - 0.4
    widths *= min(1.0, 0.75 * width / widths.sum())
    gap = (width - widths.sum()) / (len(parts) - 1)
    lefts = 0.2 + np.cumsum([0.0, *(widths[:-1] + gap)])
    canvas(axes, style.DOUBLE_COLUMN, HEIGHTS[1], "b")
    middle = 0.56 * HEIGHTS[1]
    for part, left, width, height in zip(parts, lefts, widths, heights, strict=True):
        _block(axes, part, left, middle, width, height)
        if part.kind in ("down", "up"):
            _residual(axes, left, middle, width, height, gap)
    for left, width in zip(lefts[:-1], widths, strict=False):
        arrow(axes, [(left + width, middle), (left + width + gap, middle)], size=5)
    latents = next(n for n, part in enumerate(parts) if part.kind == "latent")
    for first, last, text in (
        (0, latents - 1, "Encoder"),
        (latents + 1, len(parts) - 1, "Decoder"),
    ):
        x = 0.5 * (lefts[first] + lefts[last] + widths[last])
        axes.text(x, HEIGHTS[1] - 0.05, text, ha="center", va="top", fontsize=8)
    _legend(axes, {part.kind for part in parts})


def _block(
    axes: style.Axes, part: Block, left: float, middle: float, width: float, height: float
) -> None:
    """Draw a block, and write below it how large it is."""
    Box(left + width / 2, middle, width, height, "", KINDS[part.kind][0]).draw(axes)
    size = f"{part.channels}×{part.length}" if part.channels > 1 else f"{part.length}"
    y = middle - height / 2 - 0.05
    axes.text(left + width / 2, y, size, ha="center", va="top", fontsize=7, rotation=90)


def _residual(
    axes: style.Axes, left: float, middle: float, width: float, height: float, gap: float
) -> None:
    """Draw the connection around a residual stage."""
    top, inset = middle + height / 2 + 0.09, 0.35 * gap
    start, end = left - inset, left + width + inset
    arrow(
        axes, [(start, middle), (start, top), (end, top), (end, middle)], color=style.PURPLE, size=4
    )


def _legend(axes: style.Axes, kinds: set[str]) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Patch | Line2D] = [
        Patch(label=title, fc=to_rgba(color, 0.25), ec=color)
        for kind, (color, title) in KINDS.items()
        if kind in kinds
    ]
    handles.append(Line2D([], [], color=style.PURPLE, lw=0.8, label="Residual connection"))
    place: style.Look = {"loc": "lower center", "borderaxespad": 0}
    axes.legend(handles=handles, ncols=-(-len(handles) // 2), handlelength=1.4, **place)


def _height(part: Block) -> float:
    """Height in inch, linear in the logarithm of the length."""
    return 0.1 + 0.125 * math.log2(part.length)


# --- (c) the layers of a stage ------------------------------------------------------------


def _stages(axes: style.Axes, kernel: int) -> None:
    """Draw the layers of a residual stage of the encoder and of one of the decoder.

    They are those of `icflow.networks.network.DownStage` and `UpStage`.
    """
    canvas(axes, style.DOUBLE_COLUMN, HEIGHTS[2], "c")
    down = [f"Convolution\n{kernel}, stride 2", "Norm", "GELU", f"Convolution\n{kernel}", "Norm"]
    up = [f"Transposed\n{kernel}, stride 2", *down[1:]]
    joined = "{}\n1, stride 2"
    encoder = _Chain(1.65, "Encoder", style.BLUE, down, joined.format("Convolution"), ["GELU"])
    decoder = _Chain(
        0.7, "Decoder", style.SKY, up, joined.format("Transposed"), ["GELU", "Norm", "GELU"]
    )
    for chain in (encoder, decoder):
        chain.draw(axes)


@dataclass(frozen=True)
class _Chain:
    """The layers of a stage: before the input joins, on its way to join, and after."""

    y: float
    name: str
    color: str
    layers: Sequence[str]
    joining: str
    after: Sequence[str]

    def draw(self, axes: style.Axes) -> None:
        """Draw them from left to right, the way to join below."""
        height, gap = 0.34, 0.13
        axes.text(0.3, self.y, f"{self.name}\nstage", ha="left", va="center", fontsize=8)
        x, boxes = 1.2, []
        for text in (*self.layers, "+", *self.after):
            width = 0.2 if text == "+" else 0.42 if text.isupper() or text == "Norm" else 0.74
            color = style.PURPLE if text == "+" else self.color
            boxes.append(
                Box(x + width / 2, self.y, width, height * (1 if width > 0.2 else 0.6), text, color)
            )
            x += width + gap
        for box in boxes:
            box.draw(axes)
        begin = boxes[0].left - 2 * gap
        for start, box in zip([begin, *(b.right for b in boxes[:-1])], boxes, strict=True):
            arrow(axes, [(start, self.y), (box.left, self.y)], size=5)
        arrow(axes, [(boxes[-1].right, self.y), (boxes[-1].right + gap, self.y)], size=5)
        self._join(axes, begin, boxes[len(self.layers)], height)

    def _join(self, axes: style.Axes, begin: float, plus: Box, height: float) -> None:
        """Draw how the input joins."""
        y, start = self.y - 0.43, begin + 0.08
        first = Box(2.6, y, 0.74, height, self.joining, style.PURPLE)
        second = Box(first.right + 0.34, y, 0.42, height, "Norm", style.PURPLE)
        for box in (first, second):
            box.draw(axes)
        look: style.Look = {"color": style.PURPLE, "size": 5}
        arrow(axes, [(start, self.y), (start, y), (first.left, y)], **look)
        arrow(axes, [(first.right, y), (second.left, y)], **look)
        arrow(axes, [(second.right, y), (plus.x, y), (plus.x, plus.bottom)], **look)


def _caption(config: Config) -> str:
    architecture = config.autoencoder.architecture
    weight = config.autoencoder.networks[base.constrained(config)].constraint
    (low, high), (first, last) = config.autoencoder.energies, config.detection.score_energies
    return (
        "(a) The autoencoder in training (dashed) and in testing (solid). "
        f"The {architecture.latents} latents of the conditional autoencoder are held to the "
        f"labels, scaled to 0–1, with a weight λ of {weight:g}; of the plain one λ is 0. Rₐ is "
        f"taken from {first:g} to {last:g} keV. "
        f"(b) Its blocks. Input: rates of the channels between {low:g} and {high:g} keV; the "
        f"numbers are channels × length after each convolution or stage, and units of dense "
        "layers, which GELU follows, in the latents too. A convolution of width 1 gives the "
        "output. (c) The layers of a residual stage; numbers are the widths of the kernels, Norm "
        "is batch normalisation."
    )


FIGURE = FigureKind(
    sections=("autoencoder",),
    inputs=base.examples,
    draw=draw,
    caption=_caption,
    alt=(
        "Three schematics. Training and testing: a spectrum passes encoder, latents and decoder "
        "and is compared with its reconstruction; in training the latents are compared with the "
        "plasma's parameters too. The network: convolutional stages of growing channel number and "
        "shrinking length and dense layers lead to the latents, one dense layer and transposed "
        "stages back to a spectrum, with residual connections in both halves. The layers of one "
        "stage of either half."
    ),
)

"""Figures, response files, containers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from icflow.config.references import NameOf
from icflow.sections import FINEST, Section


class Figures(Section):
    """How figures look."""

    formats: list[Literal["pdf", "png", "svg"]] = Field(
        min_length=1, description="file formats of each figure"
    )
    dpi: int = Field(ge=50, le=FINEST, description="resolution of bitmaps (dots per inch)")
    example: int = Field(ge=0, description="index of the spectra shown as examples")
    cluster: Annotated[str, NameOf("datasets")] | None = Field(
        None,
        description="dataset of a cluster: Figure 1 shows its first spectrum, Figure 8 marks where "
        "that lies",
    )
    bins: int = Field(ge=2, le=1000, description="bins of parameters in the figures that bin them")


def _text(value: Any) -> Any:
    """Take a number for the text that it was meant to be."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Archival(Section):
    """Archival NuSTAR data that HEASoft makes response files from."""

    sequence: Annotated[str, BeforeValidator(_text), Field(pattern=r"^\d{11}$")] = Field(
        description="sequence ID of the observation"
    )
    data: str = Field(description="folder of its data, as the archive gives them")
    module: Literal["FPMA", "FPMB"] = Field(description="focal plane module")
    region: str = Field(description="region of the source, a file as ds9 and xselect read it")
    extended: bool = Field(True, description="effective area of an extended source, not a point")
    nupipeline: dict[str, str] = Field({}, description="further parameters of nupipeline")
    nuproducts: dict[str, str] = Field({}, description="further parameters of nuproducts")


class Containers(Section):
    """Apptainer images, used with ``--use-singularity`` only."""

    icflow: str = Field(description="image of the embedded engine and the networks")
    heasoft: str = Field(description="image of HEASoft with XSPEC and PyXspec")

"""Files that icflow can fetch: AtomDB's tables, and a response of NuSTAR to try things with."""

from __future__ import annotations

from pathlib import Path

from icflow.resources import ensure, find


def data_file(name: str) -> Path:
    """Return the path of a file that `icflow fetch` brings; fetch it if it is nowhere.

    It is looked for below ``resources/``, in ``ICFLOW_DATA``, in the data folder of the user and
    in HEASoft's.

    Parameters
    ----------
    name : str
        ``nustar_fpma.rmf``, ``nustar_fpma.arf``, ``apec_v3.0.9_coco.fits`` or
        ``apec_v3.0.9_line.fits``.

    Raises
    ------
    IcflowError
        If there is no such file, or it cannot be fetched.

    Examples
    --------
    >>> import icflow
    >>> icflow.data_file("nustar.rmf")
    Traceback (most recent call last):
    icflow.errors.IcflowError: there is no resource 'nustar.rmf'; choose from ...
    """
    return find(name) or ensure(name, None)

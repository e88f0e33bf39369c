"""Evaluate apec and fake a spectrum with XSPEC, through the engine: the test of heasoft.def.

Takes the AtomDB tables that come with HEASoft, the newest if there are several,
and a response of its own: 1 to 10 keV, 100 cm², channel = energy.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import eye_array

from icflow.config import AtomicData, Instrument
from icflow.engines.xspec.engine import PyXspecEngine
from icflow.ogip.response import Rmf, write_arf, write_rmf

CHANNELS = 450
EXPOSURE = 1e5  # s


def newest_atomdb(headas: Path) -> str:
    """Return the version of the newest apec tables in a HEASoft."""
    tables = (headas / "spectral" / "modelData").glob("apec_v*_line.fits")
    versions = [match[1] for path in tables if (match := re.match(r"apec_v([\d.]+)_", path.name))]
    if not versions:
        sys.exit(f"{headas}/spectral/modelData holds no AtomDB tables")
    return max(versions, key=lambda version: [int(number) for number in version.split(".")])


def main() -> None:
    """Print the versions, or end with the sentence that says what XSPEC cannot do."""
    edges = np.linspace(1.0, 10.0, CHANNELS + 1)
    low, high = edges[:-1], edges[1:]
    with tempfile.TemporaryDirectory() as folder:
        channel = np.arange(CHANNELS)
        identity = eye_array(CHANNELS, format="csr")
        write_rmf(f"{folder}/test.rmf", Rmf(low, high, identity, channel, low, high))
        write_arf(f"{folder}/test.arf", low, high, np.full(CHANNELS, 100.0))
        instrument = Instrument(
            rmf=f"{folder}/test.rmf", arf=f"{folder}/test.arf", exposure=EXPOSURE
        )
        version = newest_atomdb(Path(os.environ["HEADAS"]))
        engine = PyXspecEngine([instrument], AtomicData(atomdb=version, folder=folder))
        model = {"TBabs.nH": 0.01, "apec.kT": 3.0, "apec.Abundanc": 0.3, "apec.norm": 0.01}
        expected = engine.predict("tbabs*apec", model).sum()
        counts, _ = engine.fake("tbabs*apec", model, 1, "test", [0])
    if not abs(counts.sum() - expected) < 5 * expected**0.5:
        sys.exit(f"XSPEC faked {counts.sum()} counts where it expects {expected:.0f}")
    print(f"XSPEC {engine.versions()['XSPECVER']}, AtomDB {version}: {counts.sum()} counts faked")


if __name__ == "__main__":
    main()

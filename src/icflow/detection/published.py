"""Published results that Table 1 is compared with."""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "Lin et al. 2024, ApJ, doi:10.3847/1538-4357/ad8888"


@dataclass(frozen=True)
class Published:
    """Precision, recall and balanced accuracy as published."""

    precision: float
    recall: float
    bacc: float


# By the detectors' names in `config.yaml`.
PUBLISHED = {
    "cae": Published(0.69, 0.50, 0.64),
    "ae": Published(0.64, 0.25, 0.55),
    "cstat_rule_fixed": Published(0.54, 0.62, 0.55),
    "cstat_rule_free": Published(0.47, 0.42, 0.47),
}

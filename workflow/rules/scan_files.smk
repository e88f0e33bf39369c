# What the points of scans read, and what is made of them.
def points(scan):
    """Names of the points of a scan."""
    return [point.name for point in CONFIG.scans[scan].points]


def tested(scan):
    """Test datasets of all points of a scan."""
    return list(dict.fromkeys(n for point in CONFIG.scans[scan].points for n in point.test))


def scanned(scan):
    """Datasets of a scan that the default run does not score."""
    return list(dict.fromkeys([*CONFIG.scanned(scan, "validation"), *CONFIG.scanned(scan, "test")]))


def point_fits(wildcards):
    """Fits that the detectors read at a point."""
    detection = CONFIG.at_point(wildcards.scan, wildcards.point)
    return [
        f"{shard}.ecsv"
        for (dataset, fit), number in detectors.fits_needed(detection, CONFIG.datasets).items()
        for shard in sharded(f"results/fits/{dataset}/{fit}", dataset, number)
    ]


def point_integrals(wildcards):
    """Integrals that the detectors read at a point."""
    detection = CONFIG.at_point(wildcards.scan, wildcards.point)
    return integrals(detectors.integrals_needed(detection, CONFIG.datasets))


def point_scores(wildcards):
    """Scores of the networks that the detectors read at a point, from the run and from the scan."""
    scan, detection = wildcards.scan, CONFIG.at_point(wildcards.scan, wildcards.point)
    used = [name for name in CONFIG.autoencoder.networks if name in detectors.networks(detection)]
    datasets = {*detection.validation, *detection.test}
    # Those of the run hold the spectra that the folds held out, too.
    folders = ["results/scores"]
    if datasets & {*scanned(scan)}:
        folders.append(f"results/scans/{scan}/scores")
    return expand(
        "{folder}/{network}/fold-{fold}.ecsv",
        folder=folders,
        network=used,
        fold=range(CONFIG.autoencoder.training.folds_trained),
    )


def point_spectra(wildcards):
    """Test spectra of a point."""
    test = CONFIG.at_point(wildcards.scan, wildcards.point).test
    return [shard for dataset in test for shard in spectra(dataset)]


def scan_files(*scans):
    """What is made of some scans; refuses those that the configuration does not have."""
    for scan in scans:
        if scan not in CONFIG.scans:
            raise WorkflowError(
                f"scans: has no {scan}; add config/scans/{scan}.yaml after --configfile"
            )
    return expand(
        "results/scans/{scan}/{file}",
        scan=scans,
        file=["table.csv", "table.md", *(f"figure.{s}" for s in CONFIG.figures.formats)],
    )

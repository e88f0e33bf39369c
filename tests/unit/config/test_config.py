from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from trees import changed

from icflow import config
from icflow.errors import IcflowError
from icflow.models.priors import Uniform
from icflow.sections import Section

ROOT = Path(__file__).resolve().parents[3]
DEFAULT = ROOT / "config.yaml"


PRIOR = ("scenarios", "2T", "parameters", "apec.kT")

# (keys to the value, the value, what the sentence must say)
REFUSED = [
    # unknown keys, with what is allowed
    (("enigne",), "embedded", ["enigne: unknown key", "did you mean engine?"]),
    (("fits", "group_mim"), 3, ["fits.group_mim: unknown key", "did you mean group_min?"]),
    (("fits", "extra"), 3, ["fits.extra: unknown key", "allowed: energies, group_min"]),
    (PRIOR, {"unifrom": [1.0, 2.0]}, [".".join(PRIOR) + ".unifrom: unknown key", "uniform"]),
    # XSPEC is seeded by the embedded engine, which is not seeded by itself
    (("fits", "strategy"), "seeded", ["fits.strategy is 'seeded'", "set engine: xspec"]),
    (("fits", "label", "strategy"), "seeded", ["fits.label.strategy is 'seeded'"]),
    # wrong types
    (("instrument", "exposure"), "1e6", ["instrument.exposure", "'1e6'", "1.0e-3"]),
    (("autoencoder", "training", "learning_rate"), "1e-3", ["learning_rate", "'1e-3'", "text"]),
    (PRIOR, {"uniform": ["1e-3", 2.0]}, [".".join(PRIOR) + ".uniform", "'1e-3'", "text"]),
    (PRIOR, "1e-3", [".".join(PRIOR), "'1e-3'", "text"]),
    (PRIOR, "hot", [".".join(PRIOR), "'hot'", "number"]),
    (PRIOR, None, [".".join(PRIOR), "None", "number"]),
    (("seed",), 1.5, ["seed", "1.5", "integer"]),
    (("shard_size",), "many", ["shard_size", "'many'", "integer"]),
    (("fits",), 3, ["fits", "is 3", "dictionary"]),
    (("fits", "energies"), [3.0], ["fits.energies", "[3.0]", "2 items"]),
    (("datasets", "test_2T", "ic"), "yes", ["datasets.test_2T.ic", "boolean"]),
    (("instrument", "exposure"), float("nan"), ["instrument.exposure", "nan", "finite"]),
    # impossible values
    (("engine",), "ciao", ["engine", "'ciao'", "'embedded' or 'xspec'"]),
    (("instrument", "exposure"), -1.0, ["instrument.exposure", "-1.0", "greater than 0"]),
    (("datasets", "train_2T", "size"), 0, ["datasets.train_2T.size", "0", "greater than"]),
    (("fits", "energies"), [80.0, 3.0], ["fits.energies", "[80.0, 3.0]", "below the second"]),
    (("fits", "energies"), [-3.0, 80.0], ["fits.energies", "-3.0", "not negative"]),
    (("fits", "background_range"), 1.5, ["fits.background_range", "1.5", "less than 1"]),
    (("fits", "background_range"), {"lines": 1.0}, ["fits.background_range.lines: is 1.0", "less"]),
    (("fits", "label", "background_range"), -0.1, ["fits.label.background_range: is -0.1"]),
    (("fits", "errors"), "both", ["fits.errors", "'both'", "'hessian', 'profile' or 'marginal'"]),
    (("fits", "delta"), 0, ["fits.delta", "0", "greater than 0"]),
    (("autoencoder", "training", "folds"), 2, ["training.folds", "2", "equal to 3"]),
    (("autoencoder", "training", "folds_trained"), 11, ["folds_trained is 11", "folds, 10"]),
    (("autoencoder", "training", "device"), "tpu", ["training.device", "'tpu'", "'cuda'"]),
    (("atomic_data", "cross_sections"), "old", ["cross_sections", "'old'", "'vern'"]),
    (PRIOR, {"uniform": [10.0, 1.0]}, [".".join(PRIOR) + ".uniform", "[10.0, 1.0]"]),
    (PRIOR, {"log_uniform": [0.0, 1.0]}, [".".join(PRIOR), "[0.0, 1.0]", "positive"]),
    (PRIOR, {"uniform": [1.0, 2.0], "log_uniform": [1.0, 2.0]}, [".".join(PRIOR), "one of"]),
    (PRIOR, {}, [".".join(PRIOR), "{uniform: [low, high]}"]),
    (("figures", "example"), 1000, ["figures.example is 1000", "0 to 999", "test_2T"]),
    (("autoencoder", "training", "spectra"), 10001, ["spectra is 10001", "10000", "train_2T"]),
    (("figures", "formats"), ["gif"], ["figures.formats", "'gif'", "'pdf'"]),
    (("datasets", "test_2T", "exposure"), 0.0, ["datasets.test_2T.exposure", "greater than 0"]),
    (("datasets", "test_2T", "systematics"), {"background": -0.1}, ["test_2T.systematics", "-0.1"]),
    (("instrument", "systematics", "background"), -0.1, ["systematics.background", "-0.1"]),
    (("datasets", "test_2T", "like"), "other", ["datasets.test_2T.like is 'other'", "train_2T"]),
    (
        ("datasets", "test_2T", "parameters"),
        {"apec.kT": {"uniform": [9.0, 2.0]}},
        ["datasets.test_2T.parameters.apec.kT.uniform", "[9.0, 2.0]"],
    ),
    (
        ("datasets", "test_2T", "parameters"),
        {"apec.kT": {"link": "apec.k"}},
        ["datasets.test_2T.parameters.apec.kT.link", "'apec.k'"],
    ),
    (("datasets", "a" * 101), {"scenario": "2T", "size": 1}, ["letters", "100 at most"]),
    (("fits", "energies"), [3.0, float("inf")], ["fits.energies.1: is inf", "finite"]),
    (("fits", "energies"), [float("nan"), 80.0], ["fits.energies.0: is nan", "finite"]),
    (("instrument", "exposure"), float("inf"), ["instrument.exposure: is inf", "finite"]),
    (("datasets", "a/b"), {"scenario": "2T", "size": 1}, ["datasets", "'a/b'", "letters"]),
    # more than any run has, found when a stage has begun otherwise
    (("seed",), 2**63, ["seed", "less than or equal to 9223372036854775807"]),
    (("shard_size",), 10**8, ["shard_size", "less than or equal to 10000000"]),
    (("datasets", "test_2T", "size"), 10**12, ["datasets.test_2T.size", "10000000"]),
    (("detection", "bootstrap"), 10**12, ["detection.bootstrap", "1000000"]),
    (("figures", "dpi"), 10**9, ["figures.dpi", "2400"]),
    (("figures", "bins"), 10**9, ["figures.bins", "1000"]),
    (("autoencoder", "architecture", "widths"), [10**9], ["architecture.widths.0", "10000"]),
    (("autoencoder", "training", "epochs"), 10**12, ["training.epochs", "10000000"]),
    # what figures cannot show
    (("detection", "detectors", "cae", "title"), "", ["cae.title is ''", "give one line"]),
    (("detection", "detectors", "cae", "title"), "a\nb", ["cae.title is 'a\\nb'", "one line"]),
    (("autoencoder", "labels"), {"\t": "fit:apec.kT"}, ["autoencoder.labels", "one line of text"]),
    # the same twice
    (("detection", "test"), ["test_2T", "test_2T"], ["detection.test names 'test_2T' twice"]),
    # references to what is not there
    (("datasets", "train_2T", "scenario"), "3T", ["datasets.train_2T.scenario", "'3T'", "1T+IC"]),
    (("fits", "label", "model"), "3T", ["fits.label.model", "'3T'", "1T+IC"]),
    (("fits", "baseline", "2T_free", "model"), "3T", ["fits.baseline.2T_free.model", "'3T'"]),
    (("detection", "training"), "other", ["detection.training", "'other'", "train_2T"]),
    (("detection", "test"), ["test_2T", "other"], ["detection.test", "'other'", "test_1T+IC"]),
    (("detection", "validation"), ["val"], ["detection.validation.0", "'val'", "validation_2T"]),
    (("detection", "training_ic"), "ic", ["detection.training_ic", "'ic'", "train_1T+IC"]),
    (("detection", "test"), ["train_2T"], ["'train_2T', which detection.training uses"]),
    (
        ("detection", "detectors", "cae", "network"),
        "vae",
        ["detection.detectors.cae.network", "'vae'", "ae, cae"],
    ),
    (
        ("detection", "detectors", "cstat_rule_free", "thermal"),
        "3T",
        ["detection.detectors.cstat_rule_free.thermal", "'3T'", "2T_free"],
    ),
    (
        ("detection", "detectors", "cstat_rule_free", "alternative"),
        "2T_free",
        ["cstat_rule_free.alternative is '2T_free', which", "name the one with IC"],
    ),
    (
        ("observe", "detectors", "ic_added", "alternative"),
        "2T",
        ["observe.detectors.ic_added.alternative is '2T', which", "thermal is too"],
    ),
    (("figures", "cluster"), "coma", ["figures.cluster is 'coma'", "did you mean Coma"]),
    (("detection", "ceiling"), "sky", ["detection.ceiling is 'sky'", "bayes_factor"]),
    (
        ("integrals", "2T_fixed", "scenario"),
        "3T",
        ["integrals.2T_fixed.scenario is '3T'", "1T+IC, 2T"],
    ),
    (
        ("integrals", "2T_fixed", "at_truth"),
        ["apec.z"],
        ["integrals.2T_fixed.at_truth", "'apec.z'", "scenarios.2T", "apec.Redshift"],
    ),
    (
        ("scenarios", "2T", "parameters", "apec_3.kT"),
        {"link": "apec.k"},
        ["scenarios.2T.parameters.apec_3.kT.link", "'apec.k'", "apec.kT"],
    ),
    (
        ("fits", "label", "at_truth"),
        ["apec.z"],
        ["fits.label.at_truth", "'apec.z'", "apec.Redshift"],
    ),
    (
        ("fits", "label", "at_truth"),
        ["TBabs.nH"],
        ["fits.label.at_truth names 'TBabs.nH', which fits.models.1T fixes at 0.00858; write"],
    ),
]


WRONG_KNOWN: dict[str, tuple[dict[str, float], list[str]]] = {
    "no parameter": ({"apec.z": 0.001}, ["systematics.known is 'apec.z'", "apec.Redshift"]),
    "nothing asks for it": (
        {"apec.kT": 0.1},
        ["systematics.known names 'apec.kT', which no fit, integral or ratio has under at_truth"],
    ),
    "nothing is known of it": (
        {"apec.Redshift": 5.0},
        ["systematics.known.apec.Redshift is 5, more than the 0.09 that scenarios.2T leaves it"],
    ),
}


@pytest.mark.parametrize("case", WRONG_KNOWN)
def test_what_is_measured_is_asked_for_and_says_something(
    default: dict[str, Any], case: str
) -> None:
    known, words = WRONG_KNOWN[case]
    with pytest.raises(IcflowError) as caught:
        config.validate(changed(default, ("instrument", "systematics", "known"), known), "here")
    for word in words:
        assert word in str(caught.value)


REFUSED_RATIOS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "a parameter that only the scenario with IC lacks": (
        {"thermal": "2T", "alternative": "1T+IC", "at_truth": ["apec_3.kT"]},
        {},
        ["ratios.mine.at_truth names 'apec_3.kT'", "scenarios.1T+IC does not have", "apec.kT"],
    ),
    "a scenario that is not there": (
        {"thermal": "2T", "alternative": "1T"},
        {},
        ["ratios.mine.alternative is '1T'", "1T+IC, 2T"],
    ),
    "the same scenario twice": (
        {"thermal": "2T", "alternative": "2T"},
        {},
        ["ratios.mine.alternative is '2T', which ratios.mine.thermal is too", "name the scenario"],
    ),
    "spectra of another exposure": (
        {"thermal": "2T", "alternative": "1T+IC", "exposure": 5e4},
        {},
        ["detection has ratios.mine judge the dataset 'test_2T' of 1e+06 s", "exposure: 1e+06"],
    ),
    "spectra with other systematics than it knows of": (
        {"thermal": "2T", "alternative": "1T+IC"},
        {"background": 0.1},
        ["detection has ratios.mine judge the dataset 'test_2T'", "ratios.mine.systematics"],
    ),
}


@pytest.mark.parametrize("case", REFUSED_RATIOS)
def test_a_bad_ratio_is_refused(default: dict[str, Any], case: str) -> None:
    ratio, systematics, words = REFUSED_RATIOS[case]
    detector = {"title": "Mine", "method": "ratio_estimator", "ratio": "mine"}
    tree = changed(default, ("ratios",), {"mine": ratio})
    tree = changed(tree, ("detection", "detectors", "mine"), detector)
    if systematics:
        tree = changed(tree, ("datasets", "test_2T", "systematics"), systematics)
    with pytest.raises(IcflowError) as caught:
        config.validate(tree, "config.yaml")
    for word in words:
        assert word in str(caught.value)
    if systematics:
        config.validate(changed(tree, ("ratios", "mine", "systematics"), {}), "config.yaml")


@pytest.mark.parametrize(
    ("path", "value", "words"), REFUSED, ids=[f"{'.'.join(p)}={v}" for p, v, _ in REFUSED]
)
def test_a_bad_value_is_refused_with_its_key_and_what_is_allowed(
    default: dict[str, Any], path: tuple[str, ...], value: Any, words: list[str]
) -> None:
    with pytest.raises(IcflowError) as caught:
        config.validate(changed(default, path, value), "config.yaml")
    message = str(caught.value)
    assert message.startswith("config.yaml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_what_is_allowed_is_said_once_of_a_section_with_several_unknown_keys(
    default: dict[str, Any],
) -> None:
    tree = changed(changed(default, ("fits", "extra"), 1), ("fits", "group_mim"), 2)
    with pytest.raises(IcflowError) as caught:
        config.validate(changed(tree, ("figures", "colour"), 3), "config.yaml")
    message = str(caught.value)
    assert "fits.group_mim: unknown key, did you mean group_min?; " in message
    assert message.count("allowed: energies, group_min") == 1
    assert message.count("allowed: ") == 2  # of the figures too


@pytest.mark.parametrize(
    "path",
    [("engine",), ("instrument", "rmf"), ("fits", "starts"), ("detection", "test")],
    ids=".".join,
)
def test_a_missing_key_is_named(default: dict[str, Any], path: tuple[str, ...]) -> None:
    tree = copy.deepcopy(default)
    section = tree
    for key in path[:-1]:
        section = section[key]
    del section[path[-1]]
    with pytest.raises(IcflowError, match=re.escape(".".join(path)) + ": this key is missing"):
        config.validate(tree, "config.yaml")


@pytest.mark.parametrize("change", [{"observe": None}, {"background_scan": {}}], ids=str)
def test_a_configuration_of_another_version_gives_one_sentence(
    default: dict[str, Any], change: dict[str, Any]
) -> None:
    tree = {key: value for key, value in {**default, **change}.items() if value is not None}
    with pytest.raises(IcflowError) as caught:
        config.validate(tree, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")
    assert "config.yaml of this version holds every key: compare with it" in str(caught.value)


def test_averages_are_asked_of_an_engine_that_has_them(default: dict[str, Any]) -> None:
    tree = changed(default, ("fits", "errors"), "marginal")
    assert config.validate(tree, "config.yaml").fits.errors == "marginal"
    with pytest.raises(IcflowError, match=r"fits\.errors is 'marginal'.*set engine: embedded, or"):
        config.validate(changed(tree, ("engine",), "xspec"), "config.yaml")


def test_all_errors_are_told_at_once(default: dict[str, Any]) -> None:
    tree = changed(changed(default, ("seed",), -1), ("shard_size",), 0)
    with pytest.raises(IcflowError, match=r"seed: .*; shard_size: "):
        config.validate(tree, "config.yaml")


def test_a_long_value_is_not_printed_whole(default: dict[str, Any]) -> None:
    with pytest.raises(IcflowError) as caught:
        config.validate(changed(default, ("seed",), list(range(1000))), "config.yaml")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("a: [1", "not valid YAML"),
        ("", "holds no settings"),
        ("- 1", "holds no settings"),
        (b"\xff\xfe\x00", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: Any, words: str) -> None:
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(IcflowError, match=f"c.yaml: {words}"):
        config.load(path)


# --- the files of the project ---------------------------------------------------------


def test_every_key_of_the_default_configuration_has_a_comment() -> None:
    bare = []
    lines = DEFAULT.read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        is_key = re.match(r"\s*[\w.+-]+:(\s|$)", line)
        if is_key and "#" not in line and not before.lstrip().startswith("#"):
            bare.append(line)
    assert bare == []


def test_a_default_in_the_code_is_that_of_the_file(default: dict[str, Any]) -> None:
    compared = []

    def compare(section: Section, tree: dict[str, Any], path: str) -> None:
        for key, field in type(section).model_fields.items():
            value = getattr(section, key)
            given = key in tree and not field.is_required() and not isinstance(value, Section)
            if given and field.default not in (None, {}, []):
                compared.append(f"{path}{key}")
                assert tree[key] == field.default, compared[-1]
            if isinstance(value, Section):
                compare(value, tree.get(key, {}), f"{path}{key}.")

    compare(config.validate(default, "config.yaml"), default, "")
    assert {"atomic_data.abundances", "fits.errors"} <= set(compared)


@pytest.mark.parametrize("overlay", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_the_overlays_are_valid(overlay: Path) -> None:
    default, laid = config.load(DEFAULT), config.load(DEFAULT, overlay)
    assert laid != default


def test_an_overlay_changes_its_own_keys_only(tmp_path: Path) -> None:
    overlay = tmp_path / "o.yaml"
    overlay.write_text("fits: {starts: 3}\nscenarios: {2T: {parameters: {TBabs.nH: 0.01}}}\n")
    default, laid = config.load(DEFAULT), config.load(DEFAULT, overlay)
    assert laid.fits.starts == 3
    assert laid.fits.model_copy(update={"starts": default.fits.starts}) == default.fits
    assert laid.scenarios["2T"].parameters["TBabs.nH"] == 0.01
    assert laid.scenarios["2T"].parameters["apec.kT"] == Uniform(uniform=[1.0, 10.0])


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        ({"labels": {"x": "fitted:apec.kT"}}, "x is 'fitted:apec.kT', allowed: fit:parameter"),
        ({"labels": {"x": "log"}}, "x is 'log', allowed: fit:parameter"),
        ({"latents": 3}, r"networks\.dense\.latents is 3, fewer than the 4 labels"),
        ({"kind": "deep"}, "kind"),
    ],
)
def test_networks_that_cannot_be(tmp_path: Path, network: dict[str, Any], problem: str) -> None:
    overlay = tmp_path / "o.yaml"
    overlay.write_text(json.dumps({"autoencoder": {"networks": {"dense": network}}}))
    with pytest.raises(IcflowError, match=problem):
        config.load(DEFAULT, overlay)


def test_the_priors_of_the_text_differ_in_the_norms_of_the_plasmas_alone() -> None:
    text = config.load(DEFAULT, ROOT / "config" / "text-priors.yaml")
    norms = {("2T", "apec.norm"), ("2T", "apec_3.norm"), ("1T+IC", "apec.norm")}
    for scenario, parameter in norms:
        assert text.scenarios[scenario].parameters[parameter] == Uniform(uniform=[0.01, 1.0])
    tree = config.load(DEFAULT).model_dump()
    for scenario, parameter in norms:
        prior = tree["scenarios"][scenario]["parameters"][parameter]
        assert prior == {"uniform": [0.04, 0.165]}
        prior["uniform"] = [0.01, 1.0]
    assert tree == text.model_dump()


def test_the_reference_results_use_every_spectrum() -> None:
    reference = config.load(DEFAULT, ROOT / "config" / "reference.yaml")
    assert reference.autoencoder.training.spectra == reference.datasets["train_2T"].size


def test_a_dataset_of_too_many_files_is_refused(default: dict[str, Any]) -> None:
    small = changed(default, ("shard_size",), 1)
    with pytest.raises(IcflowError, match=r"datasets\.train_2T\.size is 10001, .*raise shard_size"):
        config.validate(changed(small, ("datasets", "train_2T", "size"), 10_001), "c")

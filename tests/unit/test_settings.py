"""What stages need of the configuration, and that nothing else reaches them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trees import changed

from icflow import config
from icflow import settings as settings_of
from icflow.errors import IcflowError
from icflow.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "config.yaml"


def test_networks_depart_from_the_common_settings_where_they_say_so() -> None:
    default = config.load(DEFAULT)
    cae, dense = settings_of.train(default, "cae", 0), settings_of.train(default, "dense", 0)
    assert (cae.kind, dense.kind) == ("published", "dense")
    assert cae.labels == default.autoencoder.labels
    assert list(dense.labels) == ["kT_cool", "kT_hot", "ln_norm_cool", "ln_norm_hot"]
    assert (cae.architecture.latents, dense.architecture.latents) == (4, 6)
    assert cae.training == default.autoencoder.training
    assert dense.training == cae.training.model_copy(update={"epochs": 60})


def stage_settings(configuration: config.Config) -> dict[str, str]:
    """Return the settings of every kind of job as the workflow compares them."""
    return {
        **{
            f"simulate {n}": settings_of.simulate(configuration, n).json_text()
            for n in configuration.datasets
        },
        "fit label": settings_of.label(configuration).json_text(),
        **{
            f"fit {n}": settings_of.baseline(configuration, n).json_text()
            for n in configuration.fits.baseline
        },
        **{
            f"integral {n}": settings_of.integrate(configuration, n).json_text()
            for n in configuration.integrals
        },
        **{
            f"train {n}": settings_of.train(configuration, n, 0).json_text()
            for n in configuration.autoencoder.networks
        },
        "evaluate": settings_of.evaluate(configuration).json_text(),
    }


FIT_JOBS = {"fit label", "fit 2T_fixed", "fit 2T_free", "fit 1T+IC_fixed", "fit 1T+IC_free"}
ALL_TRAINING = {"train cae", "train ae"}

AFFECTED = [
    (("figures", "dpi"), 300, set()),
    # Evaluation reads the shards; the spectra in them are the same.
    (("shard_size",), 500, {"evaluate"}),
    (("containers", "icflow"), "other.sif", set()),
    (("fits", "starts"), 3, FIT_JOBS),
    (
        ("fits", "models", "2T", "parameters", "TBabs.nH"),
        0.01,
        {"fit 2T_fixed", "fit 2T_free", "fit 2T_fixed_plain", "fit 2T_free_plain"},
    ),
    (("integrals", "2T_fixed", "at_truth"), [], {"integral 2T_fixed"}),
    (("fits", "label", "at_truth"), ["apec.Redshift"], {"fit label"}),
    (("autoencoder", "training", "epochs"), 3, ALL_TRAINING),
    (("autoencoder", "networks", "cae", "constraint"), 0.2, {"train cae"}),
    (("detection", "bootstrap"), 200, {"evaluate"}),
    (
        ("scenarios", "1T+IC", "parameters", "powerlaw.PhoIndex"),
        2.1,
        {
            "simulate train_1T+IC",
            "simulate validation_1T+IC",
            "simulate test_1T+IC",
            "integral 1T+IC_fixed",
            "evaluate",
        },
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "affected"), AFFECTED, ids=[".".join(p) for p, _, _ in AFFECTED]
)
def test_a_change_reaches_only_the_stages_that_depend_on_it(
    default: dict[str, Any], path: tuple[str, ...], value: Any, affected: set[str]
) -> None:
    before = stage_settings(config.validate(default, "a"))
    after = stage_settings(config.validate(changed(default, path, value), "b"))
    assert {name for name in before if before[name] != after[name]} == affected


def test_a_fit_may_have_a_strategy_of_its_own(default: dict[str, Any]) -> None:
    run = config.validate(changed(default, ("fits", "strategy"), "plain"), "a")
    assert settings_of.label(run).strategy == "plain"
    own = changed(default, ("fits", "baseline", "2T_free", "strategy"), "plain")
    run = config.validate(own, "b")
    own_settings = settings_of.baseline(run, "2T_free")
    assert (own_settings.strategy, own_settings.starts) == ("plain", 1)
    assert settings_of.baseline(run, "1T+IC_free").strategy == "thorough"


def test_settings_survive_the_command_line(default: dict[str, Any]) -> None:
    whole = config.validate(default, "c")
    for settings in (
        whole,
        settings_of.simulate(whole, "train_2T"),
        settings_of.label(whole),
        settings_of.baseline(whole, "1T+IC_free"),
        settings_of.train(whole, "cae", 1),
        settings_of.score(whole, "ae", 0),
        settings_of.evaluate(whole),
    ):
        assert config.from_json(type(settings), settings.json_text()) == settings


@pytest.mark.parametrize(("text", "words"), [("{", "not JSON"), ('{"seed": 1.5}', "seed")])
def test_settings_that_are_none(text: str, words: str) -> None:
    with pytest.raises(IcflowError, match=words):
        config.from_json(settings_of.SimulateSettings, text)


def test_the_order_of_keys_means_nothing(default: dict[str, Any]) -> None:
    def reverse(tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        return {key: reverse(tree[key]) for key in reversed(tree)}

    before = stage_settings(config.validate(default, "a"))
    assert stage_settings(config.validate(reverse(default), "b")) == before


def test_shards_cover_a_dataset_once(default: dict[str, Any]) -> None:
    tree = changed(default, ("datasets", "test_2T", "size"), 2500)
    whole = config.validate(tree, "c")
    ranges = [whole.shard_range("test_2T", shard) for shard in whole.shards("test_2T")]
    assert ranges == [(0, 1000), (1000, 1000), (2000, 500)]


def test_the_files_of_shards_are_those_of_the_first_spectra(default: dict[str, Any]) -> None:
    run = config.validate(changed(default, ("shard_size",), 400), "c")
    shards = settings_of.shards(run, {"test_2T": 500, "train_2T": 400})
    layout = Layout(Path("r"))
    test = [layout.truth("test_2T", 0), layout.truth("test_2T", 1)]
    assert shards.files(layout.truth) == [*test, layout.truth("train_2T", 0)]
    assert shards.files(layout.truth, "test_2T") == test
    # All of a dataset where no number is given.
    assert len(settings_of.shards(run, ["test_2T"]).files(layout.spectra)) == 3


def test_a_dataset_like_another_one_differs_in_what_it_says(default: dict[str, Any]) -> None:
    above = {
        "datasets": {
            "short": {"like": "test_1T+IC", "exposure": 5.0e4, "systematics": {"background": 0.1}},
            "hot": {
                "like": "test_1T+IC",
                "size": 7,
                "parameters": {"apec.kT": {"uniform": [2.0, 14.0]}},
            },
        }
    }
    run = config.validate(config.overlay(default, above), "here")
    base, short, hot = (settings_of.simulate(run, name) for name in ("test_1T+IC", "short", "hot"))
    assert run.datasets["short"].size == 1000
    assert run.datasets["hot"].size == 7
    assert (short.dataset, short.draws, short.scenario) == ("short", "test_1T+IC", "1T+IC")
    assert (short.modules[0].exposure, short.modules[0].systematics.background) == (5e4, 0.1)
    assert short.model == base.model
    assert (base.modules[0].exposure, base.modules[0].systematics.background) == (1e6, 0.0)
    changed_parameters = {
        name for name, value in hot.model.parameters.items() if value != base.model.parameters[name]
    }
    assert changed_parameters == {"apec.kT"}
    assert hot.modules == base.modules
    assert config.from_json(config.Config, run.json_text()) == run


def test_a_fit_may_have_ranges_of_its_own(default: dict[str, Any]) -> None:
    ranges = {"lines": 0.1, "focused": 0.9}
    above = {"fits": {"baseline": {"2T_free": {"background_range": ranges}}}}
    run, before = (
        config.validate(config.overlay(default, above), "here"),
        config.validate(default, ""),
    )
    settings = settings_of.baseline(run, "2T_free")
    assert settings.background_range == ranges
    assert config.from_json(settings_of.FitSettings, settings.json_text()) == settings
    assert '"background_range":0.1' in settings_of.baseline(before, "2T_free").json_text()
    for name in ("1T+IC_free", "2T_fixed"):
        own, same = (settings_of.baseline(one, name).json_text() for one in (run, before))
        assert own == same
    assert settings_of.label(run) == settings_of.label(before)

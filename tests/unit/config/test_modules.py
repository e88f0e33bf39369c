"""An instrument of one module or several, as the configuration writes it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icflow import config, inputs
from icflow import settings as settings_of
from icflow.config.reading import read_tree
from icflow.errors import IcflowError
from icflow.models.priors import Uniform

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tree() -> dict[str, Any]:
    """The default configuration with config/two-modules.yaml laid over it."""
    files = (ROOT / "config.yaml", ROOT / "config" / "two-modules.yaml")
    return config.overlay(*(copy.deepcopy(read_tree(path)) for path in files))


def test_a_single_module_is_a_list_of_one_without_name() -> None:
    settings = config.load(ROOT / "config.yaml")
    (module,) = settings.modules
    assert (module.name, module.cross_normalisation) == ("", 1.0)
    assert module.rmf == "resources/responses/nustar_fpma.rmf"
    # It is recorded as it was written.
    assert "name" not in settings.model_dump(mode="json")["instrument"]


def test_several_modules_have_names_and_factors(tree: dict[str, Any]) -> None:
    settings = config.validate(tree, "two modules")
    first, second = settings.modules
    assert (first.name, first.cross_normalisation) == ("FPMA", 1.0)
    assert (second.name, second.cross_normalisation) == ("FPMB", Uniform(uniform=[0.97, 1.03]))
    assert settings_of.train(settings, "ae", 0).responses == [first.rmf, second.rmf]


def test_datasets_change_all_modules(tree: dict[str, Any]) -> None:
    tree["datasets"]["short"] = {
        "like": "test_2T",
        "exposure": 5e4,
        "systematics": {"background": 0.1},
    }
    settings = settings_of.simulate(config.validate(tree, "two modules"), "short")
    assert [(m.exposure, m.systematics.background) for m in settings.modules] == [(5e4, 0.1)] * 2
    assert [module.name for module in settings.modules] == ["FPMA", "FPMB"]


def test_areas_of_modules_are_wrong_at_the_same_energies(tree: dict[str, Any]) -> None:
    for module, energies in zip(tree["instrument"], ([3.0, 40.0], [3.0, 79.0]), strict=True):
        module["systematics"] = {"area": [[energy, 0.02] for energy in energies]}
    with pytest.raises(IcflowError) as caught:
        config.validate(tree, "two modules")
    assert "instrument.FPMB.systematics.area has nodes at other energies than that of FPMA" in str(
        caught.value
    )
    tree["instrument"][1]["systematics"]["area"] = [[3.0, 0.1], [40.0, 0.0]]
    config.validate(tree, "two modules")


def test_a_list_lies_over_a_single_module_and_the_other_way_round(tree: dict[str, Any]) -> None:
    single = read_tree(ROOT / "config.yaml")["instrument"]
    assert len(config.validate(config.overlay(tree, {"instrument": single}), "one").modules) == 1


def test_what_is_not_an_instrument_of_its_own_holds_for_every_module(tree: dict[str, Any]) -> None:
    systematics = read_tree(ROOT / "config/systematics.yaml")
    first, second = config.validate(config.overlay(tree, systematics), "both").modules
    given = systematics["instrument"]["systematics"]
    for module in (first, second):
        assert module.systematics.background == given["background"]
    assert [module.name for module in (first, second)] == ["FPMA", "FPMB"]
    assert (first.exposure, second.exposure) == (1e6, 9.5e5)
    # Lists of anything else are replaced, as ever.
    above = {"detection": {"test": {"name": "test_2T"}}}
    assert config.overlay(tree, above)["detection"]["test"] == {"name": "test_2T"}


@pytest.mark.parametrize("order", [("systematics", "two-modules"), ("two-modules", "systematics")])
def test_systematics_and_a_list_of_modules_may_come_in_either_order(order: tuple[str, str]) -> None:
    laid = config.load(ROOT / "config.yaml", *(ROOT / f"config/{name}.yaml" for name in order))
    given = read_tree(ROOT / "config/systematics.yaml")["instrument"]["systematics"]
    assert [module.name for module in laid.modules] == ["FPMA", "FPMB"]
    for module in laid.modules:
        assert module.systematics.background == given["background"]
        assert module.systematics.area == given["area"]


def test_a_module_of_a_list_says_itself_what_else_the_single_one_said(tree: dict[str, Any]) -> None:
    single = {"instrument": {"rmf": "a", "arf": "b", "systematics": {"background": 0.1}}}
    above = [{"name": "A", "rmf": "c"}, {"name": "B", "rmf": "d", "systematics": {}}]
    assert config.overlay(single, {"instrument": above})["instrument"] == [
        {"name": "A", "rmf": "c", "systematics": {"background": 0.1}},
        {"name": "B", "rmf": "d", "systematics": {}},
    ]
    # What is no module is refused when it is validated.
    with pytest.raises(IcflowError, match=r"instrument\.0: is 'A'"):
        config.validate(config.overlay({**tree, **single}, {"instrument": ["A"]}), "here")


def test_files_of_every_module_are_inputs(tree: dict[str, Any]) -> None:
    tree["instrument"][1] |= {"rmf": "b.rmf", "arf": "b.arf"}
    del tree["instrument"][0]["background"], tree["instrument"][1]["background"]
    files = inputs.input_files(config.validate(tree, "two modules"))
    assert files["b.rmf"] == "instrument.FPMB.rmf"
    assert files["b.arf"] == "instrument.FPMB.arf"
    assert files["resources/responses/nustar_fpma.rmf"] == "instrument.FPMA.rmf"


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["instrument"][1].update(name="FPMA"), "two modules have the name 'FPMA'"),
        (lambda t: t["instrument"][1].pop("name"), "module 2 has the name ''; name each module"),
        (lambda t: t["instrument"][1].update(name="F.B"), "module 2 has the name 'F.B'"),
        (
            lambda t: t["instrument"][0].update(cross_normalisation=1.1),
            "is given for FPMA, the first module",
        ),
        (
            lambda t: t["instrument"][1].update(cross_normalisation={"uniform": [-1.0, 1.0]}),
            "cross_normalisation reaches down to -1; factors are positive",
        ),
        (
            lambda t: t["instrument"][1].update(cross_normalisation={"link": "x"}),
            "cross_normalisation.link: unknown key",
        ),
        (lambda t: t["instrument"][1].update(cross_normalisation=0.0), "greater than 0"),
        (lambda t: t["instrument"][1].update(exposur=1.0), "did you mean exposure?"),
        (lambda t: t["instrument"][1].pop("exposure"), "exposure: this key is missing"),
        (lambda t: t.update(engine="xspec"), "takes one module of an instrument, not 2"),
        (lambda t: t.update(instrument=[]), "at least 1"),
        (
            lambda t: t["fits"].update(cross_normalisation=[0.99, 1.25]),
            "instrument.FPMB.cross_normalisation reaches from 0.97 to 1.03, outside of 0.99 to "
            "1.25, what fits.cross_normalisation lets fits take",
        ),
        (
            lambda t: t["instrument"][1].update(cross_normalisation=1.3),
            "instrument.FPMB.cross_normalisation is 1.3, outside of 0.8 to 1.25",
        ),
        (
            lambda t: t["fits"].update(cross_normalisation=[0.0, 1.2]),
            "fits.cross_normalisation: is [0.0, 1.2]; factors are positive",
        ),
    ],
)
def test_what_is_refused(tree: dict[str, Any], change: Change, message: str) -> None:
    change(tree)
    with pytest.raises(IcflowError) as caught:
        config.validate(tree, "two modules")
    assert message in str(caught.value)

"""XSPEC's save files: parameters, data groups and links, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icflow.errors import IcflowError
from icflow.models.save_file import hand_set, read_save_file

SAVED = ["background_and_source.xcm", "background_only.xcm"]


@pytest.fixture
def folder(reference: Path) -> Path:
    return reference / "save_files"


@pytest.mark.parametrize("name", SAVED)
def test_every_parameter_is_what_xspec_had(folder: Path, name: str) -> None:
    saved = read_save_file(folder / name)
    values = json.loads((folder / "values.json").read_text())
    for model in saved.models.values():
        for group in saved.groups(model):
            _, found = saved.values(model, group)
            expected = values[f"{model.source}:{model.name or 'source'}"][str(group)]
            # XSPEC writes six significant digits.
            assert list(found.values()) == pytest.approx(expected, rel=5e-6)
    assert [m.source for m in saved.models.values()] == [1, 2, 3, 4, 5][-len(saved.models) :]


def test_spectra_have_responses_of_each_source(folder: Path) -> None:
    saved = read_save_file(folder / SAVED[0])
    assert [(n, s.name, s.group) for n, s in saved.spectra.items()] == [
        (1, "bgdA.pha", 1),
        (2, "bgdB.pha", 2),
    ]
    spectrum = saved.spectra[2]
    assert spectrum.responses == {
        **dict.fromkeys((2, 3, 4), "nustar_fpma.rmf"),
        5: "diag.rmf",
    }
    assert spectrum.areas == {2: "be.arf", 4: "fcxb.arf"}
    assert saved.settings == {"abund": "angr", "xsect": "vern"}


def test_a_file_set_by_hand_goes_before_that_of_the_header() -> None:
    assert hand_set({}, 1, "a.rmf") == "a.rmf"
    assert hand_set({1: "b.rmf"}, 1, "a.rmf") == "b.rmf"
    assert hand_set({1: "none"}, 1, "a.rmf") is None
    assert hand_set({}, 2, None) is None


HEAD = "data 1:1 a.pha\nresponse 2:1 a.rmf\n"
LINE = " 1 0.1 0 0 10 10\n"


def written(folder: Path, models: str, head: str = HEAD) -> Path:
    path = folder / "saved.xcm"
    path.write_text(head + models)
    return path


@pytest.mark.parametrize(
    ("link", "value"),
    [("= b:p1*2 + 0.5", 4.5), ("= 2:p1^2", 4.0), ("= -b:p1/(1 - 2)", 2.0), ("=b:p1", 2.0)],
)
def test_links_are_sums_products_and_powers(tmp_path: Path, link: str, value: float) -> None:
    models = f"model 2:b powerlaw\n 2 -1 -3 -2 9 10\n{link}\n"
    saved = read_save_file(written(tmp_path, models))
    _, values = saved.values(saved.models["b"], 1)
    assert values == {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": value}


def test_a_link_to_a_negative_parameter(tmp_path: Path) -> None:
    models = "model 2:b powerlaw\n -2 -1 -3 -2 9 10\n= b:p1^2\n"
    saved = read_save_file(written(tmp_path, models))
    assert saved.values(saved.models["b"], 1)[1]["powerlaw.norm"] == 4.0


def test_links_lead_through_other_links_and_models(tmp_path: Path) -> None:
    models = f"model powerlaw\n 3 -1 -3 -2 9 10\n= p1\nmodel 2:b powerlaw\n{LINE}= p2*2\n"
    saved = read_save_file(written(tmp_path, models))
    assert saved.values(saved.models["b"], 1)[1]["powerlaw.norm"] == 6.0


def test_a_source_has_parameters_in_the_groups_that_have_its_response(tmp_path: Path) -> None:
    head = "data 1:1 a.pha\ndata 2:2 b.pha 2:3 c.pha\nresponse 2:2 b.rmf\nresponse 2:3 none\n"
    saved = read_save_file(written(tmp_path, f"model 2:b powerlaw\n{LINE}{LINE}", head))
    assert saved.groups(saved.models["b"]) == [2]
    assert saved.spectra[3].group == 2


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (
            f"model 2:b powerlaw\n{LINE}",
            "'powerlaw' has 2 parameters in each of 1 data groups, but",
        ),
        (f"model 2:b powerlaw\n{LINE * 3}", "but 3 lines of parameters follow"),
        (f"model 2:b nuabs*powerlaw\n{LINE * 6}", "line 3: .*unknown model 'nuabs'"),
        (f"model 2:b powerlaw\n{LINE}= b:p7\n", "a link leads to b:p7, which there is not"),
        (f"model 2:b powerlaw\n{LINE}= c:p1\n", "of the model c, which the file does not hold"),
        ("model 2:b powerlaw\n= b:p2\n= b:p1\n", "link of b:p1 leads back to it"),
        (f"model 2:b powerlaw\n{LINE}= exp(b:p1)\n", r"the link `= exp\(b:p1\)` of b:p2 cannot"),
        (f"model 2:b powerlaw\n{LINE}= 3\n", "the link `= 3` of b:p2 cannot be read"),
        (f"model 2:b powerlaw\n{LINE}= b:p1/0\n", "cannot be read"),
        (f"model 2:b powerlaw\n{LINE}= (0-b:p1)^0.5\n", "cannot be read"),
        (
            f"model 2:b powerlaw\n{LINE}= b:p1 - 9\n",
            "line 3: model b.powerlaw.norm: -8 lies outside XSPEC",
        ),
    ],
)
def test_models_that_cannot_be_read(tmp_path: Path, models: str, words: str) -> None:
    saved = read_save_file(written(tmp_path, models))
    with pytest.raises(IcflowError, match=words) as error:
        saved.values(saved.models["b"], 1)
    assert str(error.value).startswith(str(tmp_path / "saved.xcm"))


def test_switches_have_a_value_alone(tmp_path: Path) -> None:
    # logpar: alpha, beta, pivotE, which is a scale, norm.
    path = written(tmp_path, f"model 2:b logpar\n{LINE}{LINE} 20\n{LINE}")
    saved = read_save_file(path)
    _, values = saved.values(saved.models["b"], 1)
    assert values == {
        "logpar.alpha": 1.0, "logpar.beta": 1.0, "logpar.pivotE": 20.0, "logpar.norm": 1.0
    }  # fmt: skip
    cut = read_save_file(written(tmp_path, f"model 2:b logpar\n{LINE}{LINE}{LINE} 20\n"))
    with pytest.raises(IcflowError, match=r"line 3: logpar\.norm has neither step nor limits"):
        cut.values(cut.models["b"], 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + f"model 2:b powerlaw\n{LINE} 1 0.1 0\n", "line 5: '1 0.1 0' is not a parameter"),
        (HEAD + "model 2:b powerlaw\n 1e999 1 0 0 1 1\n", "line 4: '1e999 1 0 0 1 1' is not a par"),
        ("method leven\n", "names no spectrum"),
        (HEAD + "gain 2:1 1.01 0\n", "line 3: 'gain' is not a statement of a save file"),
        (HEAD + "newpar 3 5\n", "'newpar' is not a statement"),
        (HEAD + "arf 2:3 a.arf\n", "line 3: there is no spectrum 3 before"),
        (HEAD + "arf 2:1\n", "line 3: names no file"),
        ("data one a.pha\n", "line 1: 'one' is not the number of a spectrum"),
        (HEAD + "model\n", "line 3: 'model' names no model"),
        (HEAD + LINE, "line 3: '1' is not a statement"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "saved.xcm"
    path.write_text(text)
    with pytest.raises(IcflowError, match=words) as error:
        read_save_file(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_sources_without_a_model_are_told(tmp_path: Path) -> None:
    # nuskybgd gives a sixth source a response, and a model only for the Galactic ridge.
    head = HEAD + "response 6:1 a.rmf\nresponse 7:1 none\n"
    saved = read_save_file(written(tmp_path, f"model 2:b powerlaw\n{LINE}{LINE}", head))
    assert saved.without_model() == [6]


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(IcflowError, match=r"none\.xcm: cannot be read"):
        read_save_file(tmp_path / "none.xcm")
    (tmp_path / "b.xcm").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(IcflowError, match=r"b\.xcm: not a save file"):
        read_save_file(tmp_path / "b.xcm")


def test_files_are_found_beside_it_whatever_the_folder_was(tmp_path: Path) -> None:
    saved = read_save_file(written(tmp_path, f"model 2:b powerlaw\n{LINE}{LINE}"))
    (tmp_path / "a.pha").touch()
    assert saved.find("a.pha") == saved.find("/data/a.pha") == tmp_path / "a.pha"
    assert saved.find("a.pha{2}") == tmp_path / "a.pha{2}"
    with pytest.raises(IcflowError, match=r"names b\.pha, which is neither beside it nor here"):
        saved.find("b.pha")

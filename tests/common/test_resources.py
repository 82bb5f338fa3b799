"""Where schemas and recipes are found, and errors that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.common import resources
from toolkit.common.errors import GuardkitError, InputError, InputErrors, Missing, Stopped, TooManyFailures, did_you_mean, require


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the user's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: Path, text: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_users_own_file_comes_first(here: Path) -> None:
    assert resources.find("guards", "guardreasoner") == resources.shipped("schemas") / "guards" / "guardreasoner.yaml"
    own = put(here / "schemas" / "guards" / "guardreasoner.yaml")
    assert resources.find("guards", "guardreasoner").resolve() == own.resolve()
    put(here / "schemas" / "guards" / "mine.yaml")
    assert resources.find("guards", "mine").read_text() == "mine"
    assert set(resources.names("guards")) >= {"guardreasoner", "mine"}


def test_a_folder_of_a_former_name_is_read(here: Path) -> None:
    put(here / "schemas" / "judges" / "grade.yaml", "former")
    assert resources.find("graders", "grade").read_text() == "former"
    put(here / "schemas" / "graders" / "grade.yaml")
    assert resources.find("graders", "grade").read_text() == "mine"


def test_a_path_is_looked_up_here_and_beside_the_recipe(here: Path) -> None:
    beside = put(here / "recipes" / "x" / "g.yaml", "beside").parent
    assert resources.find("guards", "g.yaml", beside).read_text() == "beside"
    put(here / "g.yaml", "here")
    assert resources.find("guards", "g.yaml", beside).read_text() == "here"
    assert resources.find("guards", str(here / "g.yaml")).read_text() == "here"
    with pytest.raises(InputError, match=r"^h\.yaml: no such file\n  looked in: \., "):
        resources.find("guards", "h.yaml", beside)


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        ("guards", "guardreasone", "no guard called 'guardreasone'\n  did you mean 'guardreasoner'?"),
        ("taxonomies", "guardkits", "no taxonomy called 'guardkits'\n  did you mean 'guardkit'?"),
        ("sources", "wildguard_trian", "no source called 'wildguard_trian'\n  did you mean 'wildguard_train'?"),
        ("records", "zzz", "no record called 'zzz'\n  known: generation, "),
        ("benchmarks", "zzz", "no benchmark called 'zzz'"),
    ],
)
def test_an_unknown_name_has_the_nearest(folder: str, name: str, message: str) -> None:
    with pytest.raises(InputError) as e:
        resources.find(folder, name)
    assert str(e.value).startswith(message)


def test_recipes(here: Path) -> None:
    shipped = resources.shipped("recipes") / "quickstart" / "recipe.yaml"
    assert resources.find_recipe("quickstart") == shipped
    assert resources.find_recipe(str(shipped.parent)) == resources.find_recipe(str(shipped)) == shipped
    put(here / "recipes" / "quickstart" / "recipe.yaml")
    assert resources.find_recipe("quickstart").read_text() == "mine"
    put(here / "recipes" / "own.yaml")
    assert resources.find_recipe("own").read_text() == "mine"
    with pytest.raises(InputError, match="one of guardreasoner-omni/mini, guardreasoner-omni/v1"):
        resources.find_recipe("guardreasoner-omni")
    with pytest.raises(InputError, match="no recipe called 'owm'\n  did you mean 'own'"):
        resources.find_recipe("owm")
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        resources.find_recipe("quickstar")


def test_the_workspace(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARDKIT_WORKSPACE", raising=False)
    assert resources.workspace() == here / "outputs"
    monkeypatch.setenv("GUARDKIT_WORKSPACE", str(here / "w"))
    assert resources.workspace() == here / "w"


def test_errors_say_what_where_and_what_to_do() -> None:
    assert str(InputError("odd", where="a.yaml:3:b", hint="mend it")) == "a.yaml:3:b: odd\n  mend it"
    assert str(InputError("odd")) == "odd"
    both = InputErrors([InputError("one", where="x"), Missing("two", hint="do")])
    assert str(both) == "x: one\ntwo\n  do" and len(both.errors) == 2
    assert {c: c.exit_code for c in (GuardkitError, InputError, InputErrors, TooManyFailures, Stopped, Missing)} == {
        GuardkitError: 2,
        InputError: 2,
        InputErrors: 2,
        TooManyFailures: 1,
        Stopped: 3,
        Missing: 4,
    }


def test_did_you_mean() -> None:
    assert did_you_mean("promt", ["prompt", "response"]) == "did you mean 'prompt'?"
    assert did_you_mean("xyz", ["prompt", "alpha"]) == "known: alpha, prompt"


@pytest.mark.parametrize(
    ("named", "meant"), [("mine", "did you mean 'outputs/mine'?"), ("mine/hard", "did you mean 'outputs/mine/hard'?"), ("x", None)]
)
def test_a_run_by_its_name_alone_is_one_of_the_workspace(named: str, meant: str | None, here: Path) -> None:
    (here / "outputs" / "mine" / "hard").mkdir(parents=True)
    assert resources.near_run(Path(named)) == meant
    assert resources.near_run(here / "outputs" / "mien") == "did you mean 'mine'?"


def test_a_missing_package_says_how_to_get_it() -> None:
    require("json", "x", "nothing")
    with pytest.raises(Missing, match=r"reading the hub needs the package 'no_such_package'\n  install it: pip install 'guardkit\[hub\]'"):
        require("no_such_package", "hub", "reading the hub")

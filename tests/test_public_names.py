"""The public door: its names are pinned, each resolves, and importing it costs nothing."""

import dataclasses
import inspect
import pickle
import subprocess
import sys
import types

import pytest

import headstart
from headstart import errors
from headstart.settings import Settings, SettingsError, as_plain


def test_the_public_names_are_these():
    assert headstart.__all__ == [
        "DataError",
        "HeadstartError",
        "ResourceError",
        "RunError",
        "SettingsError",
        "SourceError",
        "TransferClassifier",
        "__version__",
        "check",
        "fit",
        "load",
        "rank",
    ]
    assert headstart.__all__ == sorted(headstart.__all__)
    assert dir(headstart) == headstart.__all__


@pytest.mark.parametrize("name", [name for name in headstart.__all__ if name != "__version__"])
def test_each_name_resolves_shows_the_public_place_and_is_documented(name):
    value = getattr(headstart, name)
    assert value.__module__ == "headstart"
    assert value.__name__ == name
    assert inspect.getdoc(value)


def test_every_error_of_the_tree_is_public():
    tree = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.HeadstartError)}
    assert tree == {getattr(headstart, name) for name in headstart.__all__ if name.endswith("Error")}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'headstart' has no attribute 'fitt'$"):
        headstart.fitt  # noqa: B018


def test_public_classes_can_be_pickled():
    assert pickle.loads(pickle.dumps(headstart.DataError("x"))).args == ("x",)
    assert pickle.loads(pickle.dumps(headstart.TransferClassifier(cut=2))).cut == 2


def test_importing_headstart_imports_nothing_heavy():
    script = "import sys, headstart; print(*sorted(name for name in ('torch', 'numpy', 'sklearn', 'transformers') if name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"


def test_fit_shows_every_setting_with_its_default():
    plain = as_plain(Settings())
    shown = {name: item.default for name, item in inspect.signature(headstart.fit).parameters.items() if name != "data"}
    assert shown == {item.name: plain[item.name] for item in dataclasses.fields(Settings)}


@pytest.fixture
def pipeline(monkeypatch):
    """A stand-in for the engine that gives back what it was called with."""
    monkeypatch.setitem(
        sys.modules, "headstart.pipeline", types.SimpleNamespace(fit=lambda data, settings, command: (data, settings, command))
    )


def test_fit_takes_settings_by_name(pipeline):
    assert headstart.fit("tickets.csv", text="message", source="one", budget="1m") == (
        "tickets.csv",
        Settings(text="message", source=("one",), budget=60.0),
        "headstart.fit('tickets.csv', text='message', source='one', budget='1m')",
    )


def test_fit_takes_texts_and_labels(pipeline):
    examples, _, command = headstart.fit((["a", "b", "c"], ["x", 3, None]), seed=3)
    assert command == "headstart.fit((texts, labels), seed=3)"
    assert (examples.texts, examples.labels, examples.rows) == (("a", "b", "c"), ("x", "3", ""), (1, 2, 3))


def test_fit_refuses_unknown_settings_with_the_nearest_name(pipeline):
    with pytest.raises(SettingsError) as caught:
        headstart.fit("tickets.csv", txt="message", bugdet=3)
    assert caught.value.problems == [
        "There is no setting 'txt'. Did you mean 'text'?",
        "There is no setting 'bugdet'. Did you mean 'budget'?",
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((["a", "b"], ["x"]), "There are 2 texts and 1 labels; give one label for each text."),
        ((["a", 3.5], ["x", "y"]), "Text 2 is 3.5, which is no string; every text must be one."),
    ],
)
def test_fit_refuses_texts_that_are_none(pipeline, data, message):
    with pytest.raises(headstart.DataError) as caught:
        headstart.fit(data)
    assert str(caught.value) == message

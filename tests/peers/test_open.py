"""Names of recognisers: each kind has its home, a misspelt one is reported."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from osum.errors import InputError, MissingExtraError
from osum.peers import ALONE, OURS, WITH_MODEL, open_recogniser
from osum.peers.recogniser import Options


@pytest.mark.parametrize("home", [OURS, *WITH_MODEL.values(), *ALONE.values()], ids=lambda home: home[1])
def test_every_kind_has_what_a_recogniser_needs(home: tuple[str, str]) -> None:
    kind = getattr(import_module(home[0]), home[1])
    assert all(callable(getattr(kind, name)) for name in ("open", "recognise", "prompts", "describe"))


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("wisper:tiny", "no recogniser 'wisper:tiny': did you mean 'whisper:FOLDER'\\? give nano, a folder"),
        ("pocketsfinx", "did you mean 'pocketsphinx'\\?"),
        ("nono", "did you mean 'nano'\\?"),
        ("whisper", "'whisper' needs a model: give a folder or a hub id behind it, as in 'whisper:FOLDER'"),
        ("gpt", "no recogniser 'gpt': give nano, a folder or hub id of ours, or one of whisper:FOLDER, "),
    ],
)
def test_an_unknown_name_is_reported(name: str, reported: str) -> None:
    with pytest.raises(InputError, match=reported):
        open_recogniser(name)


def test_a_batch_must_hold_something() -> None:
    with pytest.raises(InputError, match="batch size 0"):
        open_recogniser("nano", Options(batch_size=0))


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("pocketsphinx", "pocketsphinx", "peers"), ("funasr:x", "funasr", "funasr")]
)
def test_a_missing_package_is_reported_with_its_pip_line(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed; .* pip install 'osum\[{extra}\]'"):
        open_recogniser(name)


def test_a_setting_of_one_kind_is_reported_to_no_other() -> None:
    extra = {"classical.train": "absent.jsonl", "whisper.beams": "5"}
    with pytest.raises(InputError, match=r"absent\.jsonl'? cannot be read"):
        open_recogniser("classical", Options(extra=extra))
    with pytest.raises(InputError, match="majority needs the setting 'train'"):
        open_recogniser("majority", Options(extra=extra))
    with pytest.raises(InputError, match="'classic' is no recogniser: did you mean 'classical'"):
        open_recogniser("majority", Options(extra={"classic.train": "absent.jsonl"}))


def test_a_setting_without_a_kind_is_of_the_models_that_have_it() -> None:
    extra = {"train": "absent.jsonl"}
    with pytest.raises(InputError, match=r"absent\.jsonl'? cannot be read"):
        open_recogniser("majority", Options(extra=extra), together=("pocketsphinx-aligner", "majority"))
    assert open_recogniser("nano", Options(extra=extra), together=("nano", "majority")).name == "nano"
    with pytest.raises(InputError, match="ours has no setting 'train': it has none"):
        open_recogniser("nano", Options(extra=extra), together=("nano", "whisper:x"))

"""`osum serve`: what is refused before anything listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from osum.cli import main, serve


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "there is no API key"),
        (["--model", "a=nano", "--model", "a=other"], "is named twice"),
        (["--model", "=nano"], "is no NAME=PATH"),
        (["--codec", "voice/"], "a codec without voices"),
        (["--api-key-file", "nothing.txt"], "cannot be read"),
        (["--port", "99999"], "is no whole number from 0 to 65535"),
        (["--max-waiting", "-1"], "is no whole number"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.delenv(serve.KEY_VARIABLE, raising=False)
    assert main(["serve", *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("# ours\nfirst\n\n second \n")
    monkeypatch.setenv(serve.KEY_VARIABLE, "third")
    assert sorted(serve._keys(str(tmp_path / "keys"))) == ["first", "second", "third"]


def test_a_file_without_keys_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys").write_text("# none\n")
    assert main(["serve", "--api-key-file", str(tmp_path / "keys")]) == 1
    assert "holds no key" in capsys.readouterr().err

"""What SECURITY.md promises of the network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from osum.cli import main

SAMPLES = Path(__file__).parents[1] / "samples"


def test_local_files_are_labelled_and_evaluated_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: socket.socket, address: Any) -> None:
        raise AssertionError(f"a connection to {address} was opened")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    clip, out = str(SAMPLES / "laugh_1.flac"), tmp_path / "out"
    assert main(["label", clip, "--num-workers", "0", "-f", "json"]) == 0
    asked = ["--data-file", str(SAMPLES / "manifest.jsonl"), "--tasks", "VED", "--limit", "1", "-o", str(out)]
    assert main(["evaluate", *asked]) == 0
    assert "manifest.VED" in capsys.readouterr().out

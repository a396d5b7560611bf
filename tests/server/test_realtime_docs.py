"""docs/realtime.md says of every event what happens to it: held against the code and against what `openai` knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent

import osum.server
from osum.server.realtime_events import RefusedError, Sent, read

PAGE = Path(__file__).parents[2] / "docs" / "realtime.md"
SENT_TYPES = {str(each.__struct_config__.tag): each for each in get_args(Sent)}
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def table(title: str) -> dict[str, str]:
    """Each event of one table of the page, and what it says happens to it."""
    lines = PAGE.read_text("utf8").splitlines()
    found: dict[str, str] = {}
    for line in lines[lines.index(f"| {title} | here | notes |") + 2 :]:
        if not line.startswith("|"):
            return found
        events, status, _ = (cell.strip() for cell in line.strip("|").split("|", 2))
        for event in re.findall(r"`([^`]+)`", events):
            assert event not in found, f"{event} is there twice"
            found[event] = status
    return found


def known(union: Any) -> set[str]:
    """Names of all events of one side in the types of `openai`."""
    if hasattr(union, "model_fields"):
        return set(get_args(union.model_fields["type"].annotation))
    return {name for each in get_args(union) for name in known(each)}


def sent() -> set[str]:
    """Names of the events that the server's code sends, and some other texts in it."""
    found = set()
    folder = Path(osum.server.__file__).parent
    for file in (*folder.glob("realtime*.py"), folder / "webrtc.py"):
        for node in ast.walk(ast.parse(file.read_text("utf8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[-1], ast.Constant):
                found.add(TRANSCRIPTION + str(node.values[-1].value))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self._buffer_event":
                found.add(f"output_audio_buffer.{ast.literal_eval(node.args[0])}")
    return found


def test_every_event_of_a_client_is_in_the_table() -> None:
    ours = {event for event, status in table("event of the client").items() if status == "ours"}
    assert set(table("event of the client")) == known(RealtimeClientEvent) | ours


@pytest.mark.parametrize(("event", "status"), table("event of the client").items())
def test_an_event_of_a_client_is_taken_or_refused_as_the_table_says(event: str, status: str) -> None:
    assert status in ("supported", "refused", "ours", "WebRTC")
    assert (event in SENT_TYPES) == (status != "refused")
    with pytest.raises(RefusedError) as refused:
        read(f'{{"type": "{event}", "event_id": 7}}')  # an id that no event has
    assert refused.value.code == ("unknown_event" if status == "refused" else "invalid_event")


def test_every_event_of_the_server_is_in_the_table() -> None:
    ours = {event for event, status in table("event of the server").items() if status == "ours"}
    assert set(table("event of the server")) == known(RealtimeServerEvent) | ours


@pytest.mark.parametrize(("event", "status"), table("event of the server").items())
def test_an_event_of_the_server_is_sent_or_never_as_the_table_says(event: str, status: str) -> None:
    assert status in ("sent", "never", "ours", "WebRTC")
    assert (event in sent()) == (status != "never")

"""Who decides about turns: what a server was started with, and what a session asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dialogue.tiny_network import network
from engine.tiny_checkpoint import checkpoint_of

from osum.dialogue.turn_policy import EndOfTurn, Semantic, SilenceOnly
from osum.dialogue.turn_words import ByWords
from osum.errors import CheckpointError, InputError
from osum.listening.recognizer import Recognizer
from osum.server.options import ServerOptions
from osum.server.realtime_events import RefusedError
from osum.server.realtime_session import RealtimeSession
from osum.server.turn_policies import PATIENCE, TurnPolicies

KNOWS_TURNS = Recognizer(checkpoint_of("speech_first"))
KNOWS_WORDS = Recognizer(
    replace(checkpoint_of("speech_first"), tasks=checkpoint_of("speech_first").tasks.keep(["ASR"]))
)


@pytest.mark.parametrize(
    ("usual", "model", "kind"),
    [
        ("auto", KNOWS_TURNS, Semantic),
        ("auto", KNOWS_WORDS, ByWords),
        ("silence", KNOWS_TURNS, SilenceOnly),
        ("words", KNOWS_TURNS, ByWords),
        ("model", KNOWS_TURNS, Semantic),
    ],
)
def test_a_session_that_names_nobody_gets_the_servers_own(usual: Any, model: Recognizer, kind: type) -> None:
    assert type(TurnPolicies(usual).named(None, model)) is kind


def test_a_network_is_preferred_and_the_model_judges_over_replies(tmp_path: Path) -> None:
    options = ServerOptions(end_of_turn=str(network(tmp_path / "turn.onnx")))
    for model, over in ((KNOWS_TURNS, Semantic), (KNOWS_WORDS, ByWords)):
        policy = TurnPolicies.open(options).named(None, model, "high")
        assert isinstance(policy, EndOfTurn) and isinstance(policy.over_reply, over)
        assert policy.max_wait == PATIENCE["high"].surely_incomplete


def test_eagerness_is_how_long_an_incomplete_turn_is_waited_for() -> None:
    waits = [TurnPolicies().named(None, KNOWS_TURNS, eagerness).max_wait for eagerness in PATIENCE]  # type: ignore[attr-defined]
    assert waits == [4.0, 8.0, 4.0, 2.0]


def test_a_session_may_name_a_policy_and_one_that_cannot_be_changes_nothing() -> None:
    session = RealtimeSession("sess", "tiny", None)

    def able(changed: RealtimeSession) -> object:
        return changed.policy(TurnPolicies(), KNOWS_WORDS)

    def asked(name: str) -> dict[str, Any]:
        return {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "turn_policy": name}}}}

    session.update(asked("words"), able)
    assert isinstance(able(session), ByWords)
    before = session.fields
    for name, why in (("model", "has no task TURN"), ("network", "--end-of-turn"), ("luck", "luck")):
        with pytest.raises(RefusedError, match=why) as refused:
            session.update(asked(name), able)
        assert refused.value.param == "session.audio.input.turn_detection.turn_policy"
        assert session.fields is before


def test_silence_alone_decides_where_a_session_asks_for_server_vad() -> None:
    session = RealtimeSession("sess", "tiny", None)
    session.update({"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 320}}}})
    assert session.policy(TurnPolicies("model"), KNOWS_TURNS) == SilenceOnly(0.32)


def test_a_server_that_cannot_judge_so_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --end-of-turn"):
        ServerOptions(turn_policy="network")
    with pytest.raises(CheckpointError, match="no such file"):
        TurnPolicies.open(ServerOptions(end_of_turn=str(tmp_path / "none.onnx")))

"""The three policies: by silence, by the model, by a network that is a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine.tiny_checkpoint import CLIPS, checkpoint_of

from dialogue.tiny_network import network
from osum.dialogue.turn_policy import EndOfTurn, Evidence, Semantic, SilenceOnly
from osum.errors import CheckpointError, InputError
from osum.listening.recognizer import Recognizer
from osum.tasks import TURNS

SPEECH = Evidence(CLIPS[0], 0.5, paused=True, over_reply=False)


@pytest.mark.parametrize(
    ("over_reply", "seconds", "verdict"),
    [(False, 0.1, "complete"), (True, 0.2, "noise"), (True, 0.4, "complete")],
)
def test_silence_only_goes_by_durations(over_reply: bool, seconds: float, verdict: str) -> None:
    assert SilenceOnly().judge(replace(SPEECH, over_reply=over_reply, seconds=seconds)).verdict == verdict


def test_the_model_is_asked_with_the_turn_prompt() -> None:
    judgement = Semantic(Recognizer(checkpoint_of("speech_first"))).judge(SPEECH)
    assert judgement.verdict in (*TURNS.labels, "noise")
    if judgement.labels:
        assert set(judgement.labels) == set(TURNS.labels)
        assert sum(judgement.labels.values()) == pytest.approx(1.0, abs=1e-4)


def test_more_sound_than_the_model_takes_is_cut_at_the_front() -> None:
    model = Recognizer(checkpoint_of("speech_first"))
    long = replace(SPEECH, samples=np.tile(CLIPS[0], 20))
    assert Semantic(model).judge(long).verdict


def test_a_model_without_the_task_is_refused() -> None:
    checkpoint = checkpoint_of("speech_first")
    with pytest.raises(InputError, match="tiny has no task TURN"):
        Semantic(Recognizer(replace(checkpoint, tasks=checkpoint.tasks.keep(["ASR"]))))


# The network


def test_a_network_judges_the_end_of_what_was_said(tmp_path: Path) -> None:
    policy = EndOfTurn(network(tmp_path / "turn.onnx"))
    random = np.random.default_rng(0)
    loud = random.normal(size=32_000).astype(np.float32)
    fading = np.concatenate([loud, np.zeros(3_200, np.float32)])
    assert policy.probability(loud) > policy.probability(fading)
    complete, incomplete = (policy.judge(replace(SPEECH, samples=each)) for each in (loud, fading))
    assert complete.verdict == "complete" and complete.wait == 0
    unsure = policy.probability(fading) / policy.threshold
    assert 0 < unsure < 1 and incomplete.verdict == "incomplete"
    assert incomplete.wait == pytest.approx(policy.max_wait - unsure * (policy.max_wait - policy.least_wait))
    assert complete.labels["complete"] + complete.labels["incomplete"] == pytest.approx(1.0)


@pytest.mark.parametrize("size", [1, 16_000, 32_000, 100_000])
def test_any_length_of_sound_fits_the_network(tmp_path: Path, size: int) -> None:
    policy = EndOfTurn(network(tmp_path / "turn.onnx"))
    assert 0 <= policy.probability(np.full(size, 0.1, np.float32)) <= 1


def test_over_a_reply_the_network_goes_by_durations(tmp_path: Path) -> None:
    policy = EndOfTurn(network(tmp_path / "turn.onnx"))
    assert policy.judge(replace(SPEECH, paused=False, over_reply=True, seconds=0.1)).verdict == "noise"


@pytest.mark.parametrize("paused", [True, False])
def test_over_a_reply_another_policy_can_decide(tmp_path: Path, paused: bool) -> None:
    network_alone = EndOfTurn(network(tmp_path / "turn.onnx"))
    policy = network_alone.adapted(SilenceOnly(interrupts_after=0.05), max_wait=1.0)
    short = replace(SPEECH, paused=paused, over_reply=True, seconds=0.1)
    assert policy.judge(short).verdict == "complete" and network_alone.judge(short).verdict == "noise"


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(CheckpointError, match="no such file"):
        EndOfTurn(tmp_path / "none.onnx")
    with pytest.raises(CheckpointError, match="is no ONNX file"):
        EndOfTurn(broken)
    with pytest.raises(CheckpointError, match="takes an input of shape"):
        EndOfTurn(network(tmp_path / "wave.onnx", (1, 16_000)))

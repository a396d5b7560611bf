"""Turn policy: somebody has paused, or speaks while a reply plays. Is it their whole turn?

Four policies. `SilenceOnly` answers by durations. `Semantic` asks the model with the turn prompt (task `TURN`, as Easy
Turn does; echat 6.2). `ByWords` (`turn_words`) goes by the words that a model recognises. `EndOfTurn` asks a small
network by onnxruntime that has learned how turns end (Smart Turn). Policies hold weights alone, so that one serves many
talks, and are asked from any thread.
Shapes: S samples at 16 kHz, M mel bins, F frames.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from osum.audio import SAMPLE_RATE
from osum.errors import CheckpointError, InputError, MissingExtraError
from osum.listening.recognizer import Recognizer
from osum.tasks import TURNS

Samples = NDArray[np.float32]
Verdict = Literal["complete", "incomplete", "backchannel", "wait", "noise"]
"""The labels of `TURNS`, and `noise` for what nobody has said."""
TURN = "TURN"
"""Name of the task that `Semantic` asks."""


@dataclass(frozen=True, eq=False)  # arrays have no truth value
class Evidence:
    """What is known of a turn when it is judged."""

    samples: Samples
    """(S,) from a little before the first word to the pause."""
    seconds: float
    """Of speech in it."""
    paused: bool
    """Whether the speaker is silent now."""
    over_reply: bool
    """Whether it began while a reply was playing."""


@dataclass(frozen=True)
class Judgement:
    """What a policy makes of it."""

    verdict: Verdict
    wait: float = 0.0
    """Seconds of silence after which the turn is taken as complete all the same; 0 takes it at once."""
    text: str = ""
    """What was said, where the policy knows."""
    labels: Mapping[str, float] = field(default_factory=dict)
    """Probability of each verdict, where the policy knows."""


class TurnPolicy(Protocol):
    """Decides whose turn it is."""

    @property
    def after(self) -> float:
        """Seconds of silence after which it is asked."""

    @property
    def instant(self) -> bool:
        """Whether it answers without work, so that it may be asked on any thread."""

    def judge(self, evidence: Evidence) -> Judgement:
        """The state of a turn. What it raises counts as no answer."""


@dataclass(frozen=True)
class SilenceOnly:
    """A turn ends in a long enough silence; whoever speaks long enough interrupts."""

    after: float = 0.5
    """Seconds of silence."""
    interrupts_after: float = 0.35
    """Seconds of speech over a reply; anything shorter is no interruption."""
    instant = True

    def judge(self, evidence: Evidence) -> Judgement:
        """`complete`, or `noise` for a short sound over a reply."""
        short = evidence.over_reply and evidence.seconds < self.interrupts_after
        return Judgement("noise" if short else "complete")


@dataclass(frozen=True, eq=False)
class Semantic:
    """The model says whether what was said is a whole turn.

    Raises:
        InputError: the model has no such task.
    """

    model: Recognizer
    after: float = 0.2
    max_wait: float = 4.0
    """Seconds of silence after which an incomplete turn is taken as it is."""
    instant = False

    def __post_init__(self) -> None:
        if TURN not in self.model.tasks:
            raise InputError(f"{self.model.name} has no task {TURN}: take another turn policy, or a model that has it")

    def judge(self, evidence: Evidence) -> Judgement:
        """The likeliest state; `noise` where the model recognises no speech."""
        sound = evidence.samples[-int(self.model.max_seconds * SAMPLE_RATE) :]
        clip = self.model.label((sound, SAMPLE_RATE), tasks=[TURN])
        answer, text = clip.summary.get(TURN), clip.text or ""
        verdict: Any = None if answer is None else answer.label
        if verdict not in TURNS.labels:
            return Judgement("noise", text=text)
        odds = dict((answer.distribution if answer else None) or {})
        return Judgement(verdict, self.max_wait if verdict == "incomplete" else 0.0, text, odds)


class EndOfTurn:
    """A network that has learned how turns end, such as Smart Turn v3 (BSD-2, pipecat-ai).

    The file takes Whisper's log-mel features (1, M, F) of the last seconds, silence before them, and returns the
    probability that the turn is over. Below a half, the lower it is, the longer is the silence that is waited for. It
    says nothing of backchannels: what comes over a reply is judged by another policy.
    """

    instant = False
    threshold = 0.5

    def __init__(
        self,
        path: str | PathLike[str],
        after: float = 0.2,
        least_wait: float = 0.6,
        max_wait: float = 2.0,
        over_reply: TurnPolicy | None = None,
    ) -> None:
        """Open an ONNX file.

        Args:
            path: of the file.
            after: seconds of silence after which it is asked.
            least_wait: seconds of silence that end a turn which is as likely over as not.
            max_wait: seconds of silence that end a turn which is surely incomplete.
            over_reply: the policy for what comes over a reply; by durations without it.

        Raises:
            MissingExtraError: onnxruntime is not installed.
            CheckpointError: no file, or one that takes something else.
        """
        self.after, self.least_wait, self.max_wait, self.path = after, least_wait, max_wait, Path(path)
        self.over_reply = over_reply or SilenceOnly()
        self._session = _open(self.path)
        (given,) = self._session.get_inputs()
        self._input, shape = given.name, given.shape
        if len(shape) != 3 or not all(isinstance(size, int) for size in shape[1:]):
            raise CheckpointError(
                f"{path} takes an input of shape {shape}: an end-of-turn network takes (1, M, F) mels"
            )
        self._mels, self._frames = shape[1:]

    def adapted(self, over_reply: TurnPolicy, max_wait: float) -> EndOfTurn:
        """The same network for another talk: who judges over a reply, and the longest wait in seconds."""
        other = copy.copy(self)
        other.over_reply, other.max_wait = over_reply, max_wait
        other.least_wait = min(self.least_wait, max_wait)
        return other

    def judge(self, evidence: Evidence) -> Judgement:
        """`complete` or `incomplete` at a pause; over a reply what the other policy says."""
        if evidence.over_reply:
            return self.over_reply.judge(evidence)
        odds = self.probability(evidence.samples)
        labels = {"complete": odds, "incomplete": 1 - odds}
        if odds >= self.threshold:
            return Judgement("complete", labels=labels)
        unsure = odds / self.threshold
        return Judgement("incomplete", self.max_wait - unsure * (self.max_wait - self.least_wait), labels=labels)

    def probability(self, samples: Samples) -> float:
        """How likely a turn (S,) is over."""
        (out,) = self._session.run(None, {self._input: self._features(samples)})[:1]
        return float(np.asarray(out).reshape(-1)[0])

    def _features(self, samples: Samples) -> Samples:
        """(1, M, F) of the last seconds, filled up with silence at the front."""
        size = self._frames * self._mel.hop_length
        held = samples[-size:]
        whole = np.pad(held, (size - len(held), 0))
        found = self._mel(whole, sampling_rate=SAMPLE_RATE, return_tensors="np", do_normalize=True, padding=False)
        return np.asarray(found["input_features"], dtype=np.float32)[:, :, : self._frames]

    @cached_property
    def _mel(self) -> Any:
        from transformers import WhisperFeatureExtractor

        return WhisperFeatureExtractor(feature_size=self._mels, chunk_length=max(1, self._frames // 100))


def _open(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as missing:
        raise MissingExtraError("onnxruntime", "vad") from missing
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give the ONNX file of an end-of-turn network")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # onnxruntime has many kinds of them
        raise CheckpointError(
            f"{path} is no ONNX file that can be run ({type(fault).__name__}): fetch it again"
        ) from fault

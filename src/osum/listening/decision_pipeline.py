"""OsumForDecision: a recognizer as the model of transformers' `pipeline("decision")`, which then answers about audio.

1. The pipeline has `AudioDecisionConfig` read a request: its questions, its state and its one asset, a recording.
2. `OsumForDecision.decide` asks the recognizer, and returns logarithms of probabilities. The pipeline takes their
   softmax, which is those probabilities again.

It extends the mixin and the config of transformers, whose own models take images alone. `confidence` of an answer is
transformers': 0 for what chance would give. Knows no wire format.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.decision import DecisionConfig, parse_questions
from transformers.decision.modeling_utils import DecisionMixin

from osum.errors import InputError
from osum.listening.decisions import MAX_OPTIONS, inquiries_of
from osum.listening.recognizer import Recognizer
from osum.listening.sources import Audio, item_of

NUMBERS = [str(number) for number in range(MAX_OPTIONS)]
"""The pipeline wants a label for each option; no prompt of ours holds them."""


class AudioDecisionConfig(DecisionConfig):
    """Reads requests whose asset is a recording: `{"state": ..., "questions": {...}, "assets": {"clip": audio}}`."""

    def prepare_inputs(self, request: Mapping[str, Any] | str, processor: object) -> list[tuple[dict[str, Any], Any]]:
        """What `OsumForDecision.decide` is given, and the questions.

        The recording is whatever `Recognizer.decide` takes, or an asset of System One (`{"data_base64": ...}`).

        Raises:
            InputError: not one recording.
            ValueError: a question that is none.
        """
        del processor
        given: Mapping[str, Any] = json.loads(request) if isinstance(request, str) else request
        assets = dict(given.get("assets") or {})
        if len(assets) != 1:
            raise InputError(f"{len(assets)} assets: give one recording, such as assets={{'clip': 'a.wav'}}")
        ((name, asset),) = assets.items()
        questions, state = given.get("questions"), given.get("state", "")
        parsed = parse_questions(questions, self)
        said = (state if isinstance(state, str) else json.dumps(state, ensure_ascii=False)).replace(name, "").strip()
        return [({"audio": _recording(asset), "state": said, "asked": questions}, parsed)]


class OsumForDecision(DecisionMixin):
    """The model of a pipeline.

    Example:
        >>> model = osum.load("nano")
        >>> decide = pipeline("decision", model=OsumForDecision(model), tokenizer=model.engine.processor.tokenizer)
        >>> request = {"state": "", "assets": {"clip": "laugh.flac"}, "questions": {"laugh": {"type": "noul"}}}
        >>> decide(request)["laugh"]["noul"]
        0.97
    """

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self.config = recognizer.engine.model.config
        self.device = recognizer.engine.device
        self.hf_device_map = {"": self.device}  # it is placed already, and the pipeline must not move it
        self.name_or_path = recognizer.name
        self.decision_config = AudioDecisionConfig(labels={"choice": NUMBERS, "score": NUMBERS})

    def decide(
        self,
        audio: Audio,
        state: str,
        asked: Mapping[str, Mapping[str, Any]],
        decision_questions: Sequence[Any],
        decision_config: object = None,
    ) -> list[Tensor]:
        """The logarithm of each option's probability, of each question.

        Raises:
            OsumError: as `Recognizer.decide`.
        """
        del decision_questions, decision_config  # the same questions as transformers has read them
        plan = self._recognizer.plan(inquiries_of(asked), state)
        assert plan.asked is not None  # nothing is refused
        (row,) = self._recognizer.answer([(item_of(audio, 0), audio)], plan.asked)
        if row.error is not None:
            raise InputError(row.error)
        return [torch.tensor(one.probabilities, dtype=torch.float64).log() for one in plan.decisions(row)]


def _recording(asset: Any) -> Audio:
    """A recording as `Recognizer` takes it."""
    if not isinstance(asset, Mapping) or "data_base64" not in asset:
        found: Audio = asset
        return found
    try:
        return base64.b64decode(asset["data_base64"], validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise InputError("the asset's data_base64 is no base64: encode the bytes of a sound file") from None

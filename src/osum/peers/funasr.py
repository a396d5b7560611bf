"""SenseVoice and emotion2vec through `funasr`: transcripts with tags, and probabilities of emotions.

`funasr:FOLDER_OR_ID` opens either; which one it is, its `config.yaml` says. Weights are read without unpickling code.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from osum.checkpoints.locate import first_line
from osum.checkpoints.revision import revision_of
from osum.errors import CheckpointError, InputError, MissingExtraError, TaskError
from osum.listening.placement import placement
from osum.peers.clips import LoadedClip, in_batches
from osum.peers.facts import check_no_prompt, check_question, versions
from osum.peers.recogniser import Options, Question, Recognition
from osum.tasks import EMOTIONS, OSUM, LabelSet
from osum.tasks.free_answer import read_label
from osum.utterance import Utterance

LANGUAGES = ("zh", "en", "yue", "ja", "ko")
"""That SenseVoice can be given."""
MAX_SECONDS = 30.0
"""Of one clip; funasr cuts longer ones with another model."""
EVENTS = {"Speech": "none", "BGM": "other", "Applause": "other", "Breath": "other"}
"""Tags of SenseVoice whose words say something else than our labels; the others are read by `synonyms.yaml`."""
_TAG = re.compile(r"<\|([^|<>]*)\|>")


class Funasr:
    """What both models share: opening, asking in batches, describing."""

    def __init__(self, name: str, model: Any, device: str, batch_size: int = 8) -> None:
        self.name = name
        self.tasks = frozenset(_TASKS[model.kwargs["model"]])
        self._model = model
        self._device = device
        self._batch_size = batch_size

    @classmethod
    def open(cls, name: str, options: Options) -> Funasr:
        """Open a folder, or an id on the hub that `extra` names: `hub`, `hf` or `ms`.

        Raises:
            MissingExtraError: `funasr` is not installed.
            CheckpointError: nothing usable under that name, or another model than these two.
            InputError: an unknown device or setting, or another dtype than float32.
        """
        if options.dtype not in (None, "float32"):
            raise InputError(f"funasr runs in float32 here, not in {options.dtype}: leave dtype out")
        device, _ = placement(options.device, "float32")
        if options.offline and not Path(name).exists():
            raise CheckpointError(f"{name!r} is not on this machine: give a folder, or leave --offline out")
        model = _opened(name, device, options.extra.get("hub", "hf"))
        return cls(Path(name).name, model, device, options.batch_size)

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """See `Recogniser`."""
        check_question(self, question)
        check_no_prompt(self, question)
        if question.language is not None and question.language not in LANGUAGES:
            raise TaskError(f"{self.name} knows {', '.join(LANGUAGES)}, not {question.language!r}: give one, or none")
        return in_batches(clips, self._batch_size, lambda batch: self._answers(batch, question))

    def prompts(self, task: str) -> tuple[str, ...]:  # noqa: ARG002  (it takes none)
        """See `Recogniser`."""
        return ()

    def describe(self) -> Mapping[str, Any]:
        """See `Recogniser`."""
        folder = Path(self._model.kwargs["model_path"])
        return {
            "model": self.name,
            "revision": revision_of(folder),
            "device": self._device,
            "dtype": "float32",
            "batch_size": self._batch_size,
            "decoding": "greedy",
            "versions": versions("osum", "funasr", "torch", "numpy"),
        }

    def _answers(self, batch: Sequence[LoadedClip], question: Question) -> list[Recognition]:
        good = [loaded for loaded in batch if loaded.seconds <= MAX_SECONDS]
        found = iter(
            self._model.generate(
                input=[loaded.samples for loaded in good],
                batch_size=len(good),
                language=question.language or "auto",
                use_itn=False,
                extract_embedding=False,
            )
            if good
            else ()
        )
        return [
            read_answer(next(found), question.task) if loaded.seconds <= MAX_SECONDS else self._too_long(loaded)
            for loaded in batch
        ]

    def _too_long(self, loaded: LoadedClip) -> Recognition:
        fault = f"lasts {loaded.seconds:.1f} s, and {self.name} takes {MAX_SECONDS:g} s at once: cut it"
        return Recognition(error=f"{loaded.clip.id}: {fault}")


_SENSE_VOICE = ("ASR", "SER", "SER-only", "VED", "VED-only", "LID", "LID-only")
_TASKS = {"SenseVoiceSmall": _SENSE_VOICE, "Emotion2vec": ("SER", "SER-only")}
"""Class of funasr to what it answers."""


def _opened(name: str, device: str, hub: str) -> Any:
    try:
        from funasr import AutoModel
    except ImportError as fault:
        raise MissingExtraError("funasr", "funasr") from fault
    printed = io.StringIO()  # funasr prints which tensors are missing, and continues with random ones
    try:
        with redirect_stdout(printed):
            quiet = {"disable_update": True, "disable_pbar": True, "disable_log": True, "log_level": "ERROR"}
            model = AutoModel(model=name, hub=hub, device=device, ncpu=torch.get_num_threads(), **quiet)
    except Exception as fault:  # whatever its builders raise
        raise CheckpointError(f"{name!r} cannot be loaded ({first_line(fault)}): give a folder or a hub id") from fault
    if missing := printed.getvalue().count("miss key in ckpt"):
        raise CheckpointError(f"{name!r}: {missing} tensors are missing in its model.pt: get it again")
    if model.kwargs["model"] not in _TASKS:
        raise CheckpointError(f"{name!r} is a {model.kwargs['model']}: give one of {', '.join(_TASKS)}")
    return model


def read_answer(found: Mapping[str, Any], task: str) -> Recognition:
    """What funasr gives about one clip: `text` with tags (SenseVoice), or `labels` and their `scores` (emotion2vec)."""
    if "scores" in found:
        return _emotion(found["labels"], found["scores"])
    raw = found["text"]
    if task == "ASR":
        return Recognition(raw=raw, text=" ".join(_TAG.sub(" ", raw).split()))
    labels = OSUM[task].label_sets[0]
    said = next(filter(None, (_label_of(tag, labels) for tag in _TAG.findall(raw))), None)
    return Recognition(raw=raw, said=said, problems=() if said else (f"no tag names a label of {labels.name}",))


def _label_of(tag: str, labels: LabelSet) -> str | None:
    name = EVENTS.get(tag, tag) if labels.name == "event" else tag
    return read_label(name, labels)[0]


def _emotion(names: Sequence[str], scores: Sequence[float]) -> Recognition:
    """`生气/angry` to our label; what is none of ours (`<unk>`) is left out of the distribution, not of `raw`."""
    raw, _ = max(zip(names, scores, strict=True), key=lambda pair: pair[1])
    sums = dict.fromkeys(EMOTIONS.labels, 0.0)
    for name, score in zip(names, scores, strict=True):
        label, _ = read_label(name, EMOTIONS)
        if label is not None:
            sums[label] += score
    total = sum(sums.values())
    distribution = {label: value / total for label, value in sums.items()} if total else None
    return Recognition(
        raw=raw,
        said=read_label(raw, EMOTIONS)[0],
        label=max(distribution, key=distribution.__getitem__) if distribution else None,
        distribution=distribution,
    )

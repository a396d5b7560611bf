"""Our own test sets: the samples, the test split of nano's data, and sentences that espeak-ng speaks on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from osum.corpus.manifest import read_manifest
from osum.evaluation.sets import nano_split, spoken
from osum.evaluation.sets.benchmark import Benchmark, Target
from osum.evaluation.sets.layouts.unpacked import need, with_audio
from osum.evaluation.sets.nano_split import Slice
from osum.tasks import AGES, EMOTIONS, EVENTS_OR_NONE, GENDERS, LANGUAGES, STYLES, LabelSet
from osum.utterance import Utterance


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the clips of some benchmarks lie."""

    folder: str
    layout: str
    licence: str
    home: str

    def benchmark(
        self, name: str, title: str, asked: _Asked, reader: Callable[[Path], Iterable[Utterance]], note: str = ""
    ) -> Benchmark:
        """One of them."""
        labels = asked.label_set
        return Benchmark(
            name=name,
            title=title,
            task=asked.task,
            target=asked.target,
            metric=asked.metric,
            licence=self.licence,
            home=self.home,
            reader=reader,
            layout=self.layout,
            layout_source=self.home,
            folder=self.folder,
            language=asked.language,
            label_set=labels.name if labels else None,
            labels={label: label for label in labels.labels} | dict(asked.merged) if labels else {},
            merged=asked.merged,
            note=note,
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked, and how it is counted."""

    task: str
    target: Target
    metric: str
    language: str | None = None
    label_set: LabelSet | None = None
    merged: Mapping[str, str] = field(default_factory=dict)
    """Labels that count as another."""


def _text(metric: str, language: str | None = None) -> _Asked:
    return _Asked("ASR", "text", metric, language)


def _times(language: str) -> _Asked:
    return _Asked("SRWT", "words", "aas", language)


def _label(task: str, label_set: LabelSet, **merged: str) -> _Asked:
    return _Asked(task, "label", "accuracy", label_set=label_set, merged=merged)


_GENDER, _AGE, _EVENT = _label("SGC", GENDERS), _label("SAP", AGES), _label("VED", EVENTS_OR_NONE)
_LANGUAGE, _EMOTION, _STYLE = _label("LID", LANGUAGES), _label("SER", EMOTIONS), _label("SSR", STYLES)

SAMPLES = _Place(
    "samples", "manifest.jsonl and its FLAC files", "of each row, see samples/README.md", "samples/README.md"
)
NANO = _Place(
    "nano",
    "test.jsonl and packed audio, as recipes.nano.build --out DATA/nano writes them",
    "of each row",
    "docs/data.md",
)
ESPEAK = _Place("espeak", "nothing: espeak-ng speaks them there", "Apache-2.0 (the sentences)", "docs/benchmarks.md")


def _samples(folder: Path, known: Callable[[Utterance], object]) -> list[Utterance]:
    return [row for row in with_audio(read_manifest(need(folder / "manifest.jsonl"))) if known(row)]


def _sample(name: str, title: str, asked: _Asked) -> Benchmark:
    wanted = asked.label_set.name if asked.label_set else ""
    reader = partial(_samples, known=lambda row: row.labels.get(wanted) if wanted else row.text)
    note = "A dozen clips: shows that it runs, measures nothing"
    return SAMPLES.benchmark(name, f"samples, {title}", asked, reader, note)


_OF_PEOPLE = "Real recordings of speakers that nano did not learn from"
_OF_ESPEAK = "Synthetic: texts and voices that nano did not learn from, by the synthesizer that it learned from"
_SPEECHOCEAN = nano_split.of_source("speechocean762")

OWN_SETS = (
    _sample("samples", "transcripts", _text("mer")),
    _sample("samples-gender", "gender", _GENDER),
    _sample("samples-age", "age", _AGE),
    _sample("samples-event", "vocal event", _EVENT),
    *(
        NANO.benchmark(name, title, asked, reader, _OF_PEOPLE)
        for name, title, asked, reader in (
            ("kit-asr", "speechocean762", _text("wer", "en"), Slice(_SPEECHOCEAN, needs="text")),
            ("kit-librispeech", "LibriSpeech and LJ Speech", _text("wer", "en"),
             Slice(nano_split.of_source("librispeech-train5", "long-en"), needs="text")),
            ("kit-commonvoice-en", "Common Voice, English", _text("wer", "en"),
             Slice(nano_split.of_source("commonvoice-en"), needs="text")),
            ("kit-commonvoice-zh", "Common Voice, Mandarin", _text("cer", "zh"),
             Slice(nano_split.of_source("commonvoice-zh"), needs="text")),
            ("kit-aishell", "AISHELL-1 and AISHELL-3", _text("cer", "zh"),
             Slice(nano_split.of_source("aishell1", "aishell3", "aishell3-ssb0139"), needs="text")),
            ("kit-commands", "Speech Commands, words", _text("wer", "en"),
             Slice(nano_split.of_source("speech-commands"), needs="text")),
            ("kit-times", "word times, by PocketSphinx", _times("en"), Slice(nano_split.is_aligned, needs="words")),
            ("kit-digits", "FSDD, digits, one speaker", _text("wer", "en"),
             Slice(nano_split.of_source("fsdd"), needs="text")),
            ("kit-words", "DSPSpeech-20, 20 words, whole", _text("accuracy"),
             Slice(nano_split.of_source("dspspeech20"), needs="text")),
            ("kit-gender", "gender, adults", _GENDER, Slice(nano_split.is_adult, "gender")),
            ("kit-gender-both", "gender, adults, without FSDD's men", _GENDER,
             Slice(nano_split.is_adult_of_both_genders, "gender")),
            ("kit-age", "age, child or adult", _AGE, Slice(nano_split.is_unseen, "age")),
            ("kit-age-speechocean762", "age, both in speechocean762", _AGE, Slice(_SPEECHOCEAN, "age")),
            ("kit-age-old", "age, adult or old", _AGE, Slice(nano_split.is_old_or_adult, "age")),
            ("kit-language", "language", _LANGUAGE, Slice(nano_split.is_unseen, "language")),
            ("kit-language-dspspeech20", "language, both in DSPSpeech-20", _LANGUAGE,
             Slice(nano_split.of_source("dspspeech20"), "language")),
            ("kit-event", "event: cry, sneeze, laugh, sigh, other", _label("VED", EVENTS_OR_NONE, none="other"),
             Slice(nano_split.is_wordless, "event")),
            ("kit-cough", "event: coughs by telephone", _EVENT, Slice(nano_split.of_source("covid19-cough"), "event")),
            ("kit-event-none", "no event invented in speech", _EVENT, Slice(nano_split.is_spoken, "event")),
            ("kit-event-in-speech", "event mixed into recordings", _EVENT,
             Slice(nano_split.mixed_into("real"), "event")),
            ("kit-emotion", "emotion of EmoGator's vocal bursts", _EMOTION,
             Slice(nano_split.is_burst, "emotion", with_weak=False)),
            ("kit-emotion-emodb", "emotion of EmoDB's acted German", _EMOTION,
             Slice(nano_split.of_source("emodb"), "emotion", with_weak=False)),
        )
    ),
    *(
        NANO.benchmark(name, title, asked, reader, _OF_ESPEAK)
        for name, title, asked, reader in (
            ("kit-style", "style of text read aloud", _STYLE, Slice(nano_split.is_plain_synthetic, "style")),
            ("synthetic-en", "synthetic English sentences", _text("wer", "en"),
             Slice(nano_split.synthetic_sentence("en"), needs="text")),
            ("synthetic-zh", "synthetic Mandarin sentences", _text("cer", "zh"),
             Slice(nano_split.synthetic_sentence("zh"), needs="text")),
            ("synthetic-times-en", "word times of synthetic English", _times("en"),
             Slice(nano_split.synthetic("en"), needs="words")),
            ("synthetic-times-zh", "word times of synthetic Mandarin", _times("zh"),
             Slice(nano_split.synthetic("zh"), needs="words")),
            ("synthetic-reply", "replies to synthetic questions", _Asked("STTC", "reply", "mer"),
             Slice(nano_split.has_reply)),
            ("synthetic-event-in-speech", "event mixed into synthetic speech", _EVENT,
             Slice(nano_split.mixed_into("synthetic"), "event")),
        )
    ),
    *(
        ESPEAK.benchmark(name, title, asked, reader, "20 sentences of our own in each language, six voices")
        for name, title, asked, reader in (
            ("espeak-en", "spoken by espeak-ng, English", _text("wer", "en"), spoken.english),
            ("espeak-zh", "spoken by espeak-ng, Mandarin", _text("cer", "zh"), spoken.mandarin),
            ("espeak-times-en", "spoken by espeak-ng, English word times", _times("en"), spoken.english),
            ("espeak-times-zh", "spoken by espeak-ng, Mandarin word times", _times("zh"), spoken.mandarin),
        )
    ),
)  # fmt: skip

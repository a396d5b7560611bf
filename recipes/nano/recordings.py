"""The kit's real recordings as utterances: label names of osum, what is held out of everything, splits.

The rules of each source stand here and nowhere else; what a source does not know stays unknown.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from osum.corpus.manifest import unit_hash
from osum.corpus.transcript import transcript
from osum.utterance import Utterance, Word

MAX_SECONDS = 16.0
PIECE_SECONDS = 12.0
"""What a longer recording is cut to, between two words, where its word times are known."""

EMOTIONS = {
    "amusement": "happy",
    "elation": "happy",
    "surprise (positive)": "surprise",
    "surprise (negative)": "surprise",
    "anger": "anger",
    "fear": "fear",
    "disgust": "disgust",
    "sadness": "sad",
    "pain": "other",
    "relief": "other",
    "neutral": "neutral",
    "angry": "anger",
    "happy": "happy",
    "fearful": "fear",
    "sad": "sad",
}
"""Acted emotions of EmoGator and EmoDB to ours; EmoDB's boredom is none of ours."""

EVENTS = {"scream": "screaming"}
"""Events of the kit that we call otherwise."""

FOREIGN = {"commonvoice-other-age", "emodb"}
"""Sources in other languages than ours: their words and language are left out."""

SAME_SPEAKERS = {
    "librispeech-train5": "librispeech",
    "long-en": "librispeech",
    "aishell3-ssb0139": "aishell3",
    "commonvoice-zh": "commonvoice",
    "commonvoice-en": "commonvoice",
    "commonvoice-other-age": "commonvoice",
}
"""Sources of one corpus: a speaker of both is dealt once."""

AISHELL_FIRST_NEWS = 122
"""Utterances of S0150 before this number are commands, names and digits; from it on it reads news."""

FSDD_TEST_SPEAKER = "fsdd_jackson"
"""Four speakers cannot be dealt by chance: the one held out has an ordinary accent."""

FRACTIONS = {"train": 0.8, "valid": 0.05, "test": 0.15}
SOURCE_FRACTIONS: Mapping[str, Mapping[str, float]] = {
    "aishell1": {"test": 1.0},  # its one speaker is held out, so that Mandarin is measured on another corpus
    "aishell3": {"train": 0.45, "valid": 0.15, "test": 0.4},  # 13 speakers of one clip, and one of 40
    "emodb": {"train": 4 / 8, "valid": 2 / 8, "test": 2 / 8},  # of each gender two, one and one
    "scratch14-human": {"train": 1.0},  # nine sounds of unknown people
    "dspspeech20": {"train": 16 / 24, "valid": 2 / 24, "test": 6 / 24},
    "picovoice-keywords": {"train": 1.0},  # speakers unknown
}
ONE_SPEAKER = {"audio-cmn-words"}
"""Sources whose one speaker is in training: a tenth of their texts is held out instead."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Rows that must not be seen: those whose `field` equals `value`, and why."""

    source: str
    field: str
    value: str
    reason: str

    def hits(self, row: Mapping[str, Any]) -> bool:
        return bool(row.get("source") == self.source and row.get(self.field) == self.value)


_ORIGINS = (  # pattern of a sample clip's origin, source, field, template of the value
    (r"ESC-10 .*/\d+-(\d+)-[A-Z]\.", "esc10", "clip_group", "fs{}"),
    (r"speechocean762 .*SPEAKER(\d+)/", "speechocean762", "speaker", "so{}"),
    (r"EmoGator .*/(\d+)-\d+-\d+\.", "emogator", "speaker", "eg{}"),
    (r"(?i)ljspeech/", "ljspeech", "speaker", "lj"),
    (r"/aishell3/wav/(SSB\d{4})", "aishell3", "speaker", "{}"),
    (r"(BAC009S0150W\d+)\.wav", "aishell1", "id", "aishell1/{}"),
    (r"free-spoken-digit-dataset .*/(\w+)\.wav", "fsdd", "id", "fsdd/{}"),
    (r"audio-cmn .*/cmn-(\w+)\.mp3", "audio-cmn-words", "text", "{}"),
)


def exclusions(samples: Iterable[Mapping[str, Any]]) -> list[Exclusion]:
    """What the sample clips take out of the data: their speaker, or the recording where he is the only one."""
    found = []
    for row in samples:
        for pattern, source, field, template in _ORIGINS:
            if match := re.search(pattern, row["origin"]):
                found.append(Exclusion(source, field, template.format(*match.groups()), row["id"]))
    return sorted(set(found), key=lambda rule: (rule.source, rule.value, rule.reason))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A JSON-lines file of the kit."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def real_utterances(
    kit: Path, transcripts: Mapping[str, str] | None = None
) -> tuple[list[Utterance], list[dict[str, str]]]:
    """The kit's usable recordings, and a record of each that was taken out.

    Args:
        kit: folder with `smoke/` and one folder of sources each in `real/` and, perhaps, `real2/`.
        transcripts: id of a clip without text to what a recogniser reads in it.
    """
    rules = exclusions(read_rows(kit / "smoke" / "manifest.jsonl"))
    known = accents(kit)
    kept, dropped = [], []
    for manifest in sorted([*(kit / "real").glob("*/manifest.jsonl"), *(kit / "real2").glob("*/manifest.jsonl")]):
        for written in read_rows(manifest):
            row = known.get(written.get("speaker", ""), {}) | written
            reason = next((f"sample {rule.reason} ({rule.field})" for rule in rules if rule.hits(row)), None)
            pieces = [] if reason else list(cut(utterance(row, manifest.parent, transcripts or {}), row))
            reason = reason or _unusable(row, pieces)
            if reason:
                dropped.append({"id": row["id"], "source": row["source"], "reason": reason})
            else:
                kept += pieces
    return kept, dropped


def accents(kit: Path) -> dict[str, dict[str, str]]:
    """Speakers of AISHELL-3 with the gender that the first kit leaves out; no age group follows from the age band."""
    path = kit / "real2" / "aishell3_labels_of_first_kit.json"
    if not path.is_file():
        return {}
    listed = json.loads(path.read_text(encoding="utf-8"))
    return {speaker: {"gender": fields["gender"]} for speaker, fields in listed.items() if "gender" in fields}


def cut(row: Utterance, written: Mapping[str, Any]) -> Iterator[Utterance]:
    """The row, or pieces of it: the utterances of a long recording, or stretches between words."""
    for number, part in enumerate(written.get("segments", ())):
        text = transcript(part["text"])
        start, end = part["start"], part["end"]
        yield row.with_(id=f"{row.id}#{number}", start=start, end=end, duration=end - start, text=text, words=())
    if "segments" in written:
        return
    if (row.duration or 0) <= MAX_SECONDS or not row.words:
        yield row
        return
    for number, words in enumerate(halves(row.words)):
        start = max(0.0, words[0].start - 0.2) if number else 0.0
        text = " ".join(word.text for word in words)
        end = min(row.duration or 0.0, words[-1].end + 0.2)
        yield row.with_(id=f"{row.id}#{number}", start=start, end=end, duration=end - start, text=text, words=words)


def halves(words: tuple[Word, ...]) -> list[tuple[Word, ...]]:
    """Words in stretches of at most `PIECE_SECONDS`, cut at the widest gap of the middle third, again and again."""
    if words[-1].end - words[0].start <= PIECE_SECONDS or len(words) < 6:
        return [words]
    third = len(words) // 3
    place = max(range(third, len(words) - third + 1), key=lambda i: words[i].start - words[i - 1].end)
    return [*halves(words[:place]), *halves(words[place:])]


def utterance(row: Mapping[str, Any], folder: Path, transcripts: Mapping[str, str] | None = None) -> Utterance:
    """A kit row as an utterance; `extra` says which labels are weak (guessed from what is known of the source)."""
    labels, weak = _labels(row)
    speech = row["language"] != "none"
    foreign = row["source"] in FOREIGN
    text = _text(row, transcripts or {}) if speech else ""
    words = _words(row, text)
    return Utterance(
        id=row["id"],
        path=str(folder / row["audio"]),
        duration=row["duration_s"],
        text=text,
        language=row["language"] if speech and not foreign else None,
        words=words,
        labels=labels,
        speaker=row.get("speaker") or row.get("clip_group"),
        source=row["source"],
        licence=row["licence"],
        extra={
            "evidence": "real",
            **({"weak": weak} if weak else {}),
            **({"times": "pocketsphinx"} if words else {}),
            **({"transcript": "whisper"} if text and "text" not in row else {}),
            **_sound(row),
        },
    )


def _text(row: Mapping[str, Any], transcripts: Mapping[str, str]) -> str | None:
    """The words of a clip with speech, in simplified characters; None where they are not known."""
    read = transcripts.get(row["id"], "")
    usable = read and not re.search("[0-9]", read)  # how digits were spoken is not known
    written = row.get("text", read if usable else None)
    if written is None or row["source"] in FOREIGN:
        return None
    return transcript(simplified(written) if row["language"] == "zh" else written)


def _words(row: Mapping[str, Any], text: str | None) -> tuple[Word, ...]:
    """The automatic word times, where they are those of the transcript."""
    timed = [Word(transcript(word), start, end) for word, start, end in row.get("words_auto", ())]
    fits = text is not None and text.split() == [word.text for word in timed]
    return tuple(timed) if fits and all(word.start < word.end for word in timed) else ()


def simplified(text: str) -> str:
    """Traditional characters to simplified ones."""
    return str(_converter().convert(text))


@cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


def _unusable(row: Mapping[str, Any], pieces: Iterable[Utterance]) -> str | None:
    text = row.get("text", "")
    if any((piece.duration or 0) > MAX_SECONDS for piece in pieces if piece.start is None):
        return f"longer than {MAX_SECONDS:g} s"
    if row["language"] == "zh" and re.search("[A-Za-z0-9<>]", text):
        return "Mandarin transcript with Latin letters or digits: how they were spoken is not known"
    if row["language"] == "en" and re.search("[0-9]", text):
        return "English transcript with digits: how they were spoken is not known"
    return None


def _sound(row: Mapping[str, Any]) -> dict[str, str]:
    return {"sound": row["sound"]} if "sound" in row else {}


def _labels(row: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Labels that are known, and which of them are weak."""
    speech = row["language"] != "none"
    foreign = row["source"] in FOREIGN
    if row["source"] == "commonvoice-other-age":  # other languages: for the voice alone
        return {name: row[field] for name, field in (("gender", "gender"), ("age", "age_group")) if field in row}, []
    known = {
        "language": row["language"] if speech and not foreign else None,
        "gender": row.get("gender") if speech else None,  # an infant's cry shows no sex
        "age": row.get("age_group"),
        "event": EVENTS.get(row.get("event", ""), row.get("event")) or ("none" if speech else None),
    }
    guessed = {
        "event": None if known["event"] else row.get("event_weak"),
        "emotion": None if "emotion" in row else ("neutral" if row.get("style") == "read" else None),
        "style": _style(row),
    }
    if "emotion" in row:
        known["emotion"] = EMOTIONS.get(row["emotion"])
    labels = {name: value for name, value in (known | {k: v for k, v in guessed.items() if v}).items() if value}
    return labels, sorted(name for name, value in guessed.items() if value)


def _style(row: Mapping[str, Any]) -> str | None:
    """The style that the source's kind of text supports."""
    if row["source"] in ("librispeech", "librispeech-train5", "long-en", "ljspeech"):
        return "有声书"
    if row["source"] == "aishell1" and int(row["id"][-4:]) >= AISHELL_FIRST_NEWS:
        return "新闻科普"
    return "其他" if row.get("style") == "isolated word" else None


def deal(utterances: Iterable[Utterance], seed: int) -> Iterator[tuple[str, Utterance]]:
    """(split, utterance) for each; speakers are on one side, each source and label at its fractions."""
    corpora: dict[str, list[Utterance]] = defaultdict(list)
    for row in utterances:
        corpora[SAME_SPEAKERS.get(row.source or "", row.source or "")].append(row)
    for corpus, rows in sorted(corpora.items()):
        if corpus in ONE_SPEAKER:
            yield from _by_text(rows, seed)
            continue
        splits: dict[str, str] = {}
        for speakers in _strata(rows):
            splits |= _speaker_splits(corpus, speakers, seed)
        yield from ((splits[_speaker(row)], row) for row in rows)


def _speaker(row: Utterance) -> str:
    return row.speaker or row.id.split("#")[0]


def _strata(rows: Iterable[Utterance]) -> list[set[str]]:
    """Speakers by what is said of them: age and gender and, of sounds, the kind. Emotions vary within a speaker."""
    kinds_of: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        kind = row.extra.get("sound") or "/".join(row.labels.get(name, "") for name in ("age", "gender"))
        kinds_of[_speaker(row)][f"{row.source if kind == '/' else ''} {kind}"] += 1
    strata: dict[str, set[str]] = defaultdict(set)
    for speaker, kinds in kinds_of.items():
        strata[min(kinds, key=lambda kind: (-kinds[kind], kind))].add(speaker)
    return [strata[kind] for kind in sorted(strata)]


def _by_text(rows: Iterable[Utterance], seed: int) -> Iterator[tuple[str, Utterance]]:
    for row in rows:
        held_out = unit_hash(row.text or "", seed) < 0.1
        extra = {**row.extra, "split_note": "speaker seen"} if held_out else row.extra
        yield "test" if held_out else "train", row.with_(extra=extra)


def _speaker_splits(source: str, speakers: set[str], seed: int) -> dict[str, str]:
    """Speakers in the order of their hashes, cut at the fractions: exact shares also for few speakers."""
    if source == "fsdd":
        return {speaker: "test" if speaker == FSDD_TEST_SPEAKER else "train" for speaker in speakers}
    fractions = SOURCE_FRACTIONS.get(source, FRACTIONS)
    ordered = sorted(speakers, key=lambda speaker: unit_hash(speaker, seed))
    splits, edge, first = {}, 0.0, 0
    for name, fraction in fractions.items():
        edge += fraction
        last = round(edge * len(ordered))
        splits.update(dict.fromkeys(ordered[first:last], name))
        first = last
    return splits

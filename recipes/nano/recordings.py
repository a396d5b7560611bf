"""The kit's real recordings as utterances: label names of osum, what is held out of everything, splits.

The rules of each source stand here and nowhere else; what a source does not know stays unknown.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osum.corpus.manifest import unit_hash
from osum.corpus.transcript import transcript
from osum.utterance import Utterance

MAX_SECONDS = 12.0

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
}
"""EmoGator's acted emotion to ours."""

AISHELL_FIRST_NEWS = 122
"""Utterances of S0150 before this number are commands, names and digits; from it on it reads news."""

FSDD_TEST_SPEAKER = "fsdd_jackson"
"""Four speakers cannot be dealt by chance: the one held out has an ordinary accent."""

FRACTIONS = {"train": 0.8, "valid": 0.05, "test": 0.15}
SOURCE_FRACTIONS: Mapping[str, Mapping[str, float]] = {
    "aishell3": {"train": 0.45, "valid": 0.15, "test": 0.4},  # 13 clips: the only many-voiced Mandarin sentences
    "dspspeech20": {"train": 16 / 24, "valid": 2 / 24, "test": 6 / 24},
    "picovoice-keywords": {"train": 1.0},  # speakers unknown
}
ONE_SPEAKER = {"aishell1", "audio-cmn-words"}
"""Sources whose one speaker is heard in training: a tenth of their texts is held out instead."""


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


def real_utterances(kit: Path) -> tuple[list[Utterance], list[dict[str, str]]]:
    """The kit's usable recordings, and a record of each that was taken out."""
    rules = exclusions(read_rows(kit / "smoke" / "manifest.jsonl"))
    kept, dropped = [], []
    for manifest in sorted((kit / "real").glob("*/manifest.jsonl")):
        for row in read_rows(manifest):
            reason = next((f"sample {rule.reason} ({rule.field})" for rule in rules if rule.hits(row)), _unusable(row))
            if reason:
                dropped.append({"id": row["id"], "source": row["source"], "reason": reason})
            else:
                kept.append(utterance(row, manifest.parent))
    return kept, dropped


def utterance(row: Mapping[str, Any], folder: Path) -> Utterance:
    """A kit row as an utterance; `extra` says which labels are weak (guessed from what is known of the source)."""
    labels, weak = _labels(row)
    speech = row["language"] != "none"
    text = (transcript(row["text"]) if "text" in row else None) if speech else ""
    return Utterance(
        id=row["id"],
        path=str(folder / row["audio"]),
        duration=row["duration_s"],
        text=text,
        language=row["language"] if speech else None,
        labels=labels,
        speaker=row.get("speaker") or row.get("clip_group"),
        source=row["source"],
        licence=row["licence"],
        extra={"evidence": "real", **({"weak": weak} if weak else {}), **_sound(row)},
    )


def _unusable(row: Mapping[str, Any]) -> str | None:
    text = row.get("text", "")
    if row["duration_s"] > MAX_SECONDS:
        return f"longer than {MAX_SECONDS:g} s"
    if row["language"] == "zh" and re.search("[A-Za-z0-9<>]", text):
        return "Mandarin transcript with Latin letters or digits: how they were spoken is not known"
    return None


def _sound(row: Mapping[str, Any]) -> dict[str, str]:
    return {"sound": row["sound"]} if "sound" in row else {}


def _labels(row: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Labels that are known, and which of them are weak."""
    speech = row["language"] != "none"
    known = {
        "language": row["language"] if speech else None,
        "gender": row.get("gender") if speech else None,  # an infant's cry tells no sex
        "age": row.get("age_group"),
        "event": row.get("event") or ("none" if speech else None),
    }
    guessed = {
        "event": None if known["event"] else row.get("event_weak"),
        "emotion": None if "emotion" in row else ("neutral" if row.get("style") == "read" else None),
        "style": _style(row),
    }
    if "emotion" in row:
        known["emotion"] = EMOTIONS[row["emotion"]]
    labels = {name: value for name, value in (known | {k: v for k, v in guessed.items() if v}).items() if value}
    return labels, sorted(name for name, value in guessed.items() if value)


def _style(row: Mapping[str, Any]) -> str | None:
    """The style that the source's kind of text supports."""
    if row["source"] == "librispeech":
        return "有声书"
    if row["source"] == "aishell1" and int(row["id"][-4:]) >= AISHELL_FIRST_NEWS:
        return "新闻科普"
    return "其他" if row.get("style") == "isolated word" else None


def deal(utterances: Iterable[Utterance], seed: int) -> Iterator[tuple[str, Utterance]]:
    """(split, utterance) for each; speakers are on one side, each source and label at its fractions."""
    groups: dict[tuple[str, ...], list[Utterance]] = defaultdict(list)
    for row in utterances:
        stratum = row.extra.get("sound") or "/".join(row.labels.get(name, "") for name in ("age", "gender"))
        # emotions and infants' data vary within a speaker, so only age and gender make strata
        groups[row.source or "", stratum].append(row)
    for (source, _), rows in sorted(groups.items()):
        if source in ONE_SPEAKER:
            yield from _by_text(rows, seed)
        else:
            splits = _speaker_splits(source, {row.speaker or row.id for row in rows}, seed)
            yield from ((splits[row.speaker or row.id], row) for row in rows)


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

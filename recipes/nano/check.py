"""Figures on the validation split, by source: `python -m recipes.nano.check --data DIR --model M [M ...]`.

What chooses between checkpoints; the test split is for `osum evaluate`. Each group has at most `--clips` clips, the
same for every model. A model is a checkpoint folder, a packaged name, or `whisper:NAME` for what a Whisper reads.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import osum
from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio
from osum.corpus.manifest import read_manifest, unit_hash
from osum.scoring import aas, accuracy, cer, normalize, wer
from osum.utterance import Utterance
from recipes.nano.recordings import simplified

LABELS = {"gender": "SGC", "age": "SAP", "language": "LID", "event": "VED", "emotion": "SER"}
"""Label set to the task that asks for it."""
READ = ("librispeech", "librispeech-train5", "long-en")


@dataclass(frozen=True, slots=True)
class Group:
    """Clips of one figure."""

    name: str
    of: str
    """`text`, `exact`, `words`, `silence`, or a label set."""
    holds: Callable[[Utterance], bool]


def _from(*sources: str, language: str | None = None) -> Callable[[Utterance], bool]:
    return lambda row: (
        row.source in sources and "parts" not in row.extra and (language is None or row.language == language)
    )


def _real(row: Utterance) -> bool:
    return row.extra.get("evidence") == "real" and "parts" not in row.extra


GROUPS = (
    Group("read English", "text", _from(*READ)),
    Group("Common Voice English", "text", _from("commonvoice-en")),
    Group("learners and children", "text", _from("speechocean762")),
    Group("Mandarin, Common Voice", "text", _from("commonvoice-zh")),
    Group("Mandarin, AISHELL-3", "text", _from("aishell3", "aishell3-ssb0139")),
    Group("20 words of DSPSpeech", "exact", _from("dspspeech20")),
    Group("Speech Commands", "exact", _from("speech-commands")),
    Group("Kokoro, English", "text", _from("kokoro", language="en")),
    Group("Kokoro, Mandarin", "text", _from("kokoro", language="zh")),
    Group("gender of adults", "gender", lambda row: _real(row) and row.labels.get("age") == "adult"),
    Group("age", "age", lambda row: _real(row) and row.labels.get("age") != "old"),
    Group("language", "language", lambda row: _real(row) and bool(row.text)),
    Group("event, no speech", "event", lambda row: _real(row) and row.text == ""),
    Group("event in speech", "event", lambda row: row.extra.get("kind") == "event mixture"),
    Group("no event in speech", "event", lambda row: _real(row) and bool(row.text)),
    Group("emotion, bursts", "emotion", lambda row: row.source == "emogator" and row.labels.get("emotion") != "other"),
    Group("emotion, EmoDB", "emotion", _from("emodb")),
    Group("word times", "words", lambda row: row.extra.get("times") == "pocketsphinx"),
    Group("noise", "silence", lambda row: row.extra.get("kind") == "silence" or row.source == "esc10"),
)


def chosen(rows: Sequence[Utterance], limit: int) -> dict[str, list[Utterance]]:
    """Name of a group to its clips, in an order by hash, so that more clips hold those of fewer."""
    ordered = sorted(rows, key=lambda row: unit_hash(row.id, 7))
    return {group.name: [row for row in ordered if _fits(group, row)][:limit] for group in GROUPS}


def _fits(group: Group, row: Utterance) -> bool:
    known = {"text": bool(row.text), "exact": bool(row.text), "words": bool(row.words), "silence": row.text == ""}
    return group.holds(row) and known.get(group.of, group.of in row.labels)


class Answers:
    """What a checkpoint answers, each clip once for transcript and labels, and once more for times."""

    def __init__(self, model: str) -> None:
        self._recognizer = osum.load(model)

    def __call__(self, rows: Sequence[Utterance], timed: bool) -> dict[str, Utterance]:
        """Id of each clip to its answer."""
        read, found = ClipAudio().read, {}
        tasks = ["SRWT"] if timed else ["ASR", *LABELS.values()]
        ordered = sorted(rows, key=lambda row: row.duration or 0)
        for first in range(0, len(ordered), 32):
            part = ordered[first : first + 32]
            results = self._recognizer.label([(read(row), SAMPLE_RATE) for row in part], tasks=tasks)
            found |= {row.id: result for row, result in zip(part, results, strict=True)}
        return found


class WhisperAnswers:
    """Transcripts of a Whisper, given the language."""

    def __init__(self, name: str) -> None:
        from recipes.nano.transcribe import Reader

        self._reader = Reader(name)

    def __call__(self, rows: Sequence[Utterance], timed: bool) -> dict[str, Utterance]:
        """Id of each clip to its transcript; nothing of times."""
        found: dict[str, Utterance] = {}
        groups: dict[str, list[Utterance]] = defaultdict(list)
        for row in rows if not timed else ():
            groups[row.language or "en"].append(row)
        for language, part in groups.items():
            for first in range(0, len(part), 16):
                batch = part[first : first + 16]
                texts = self._reader.read_waves([ClipAudio().read(row) for row in batch], language)
                found |= {row.id: row.with_(text=text) for row, text in zip(batch, texts, strict=True)}
        return found


def measure(groups: Mapping[str, Sequence[Utterance]], answers: Any, labels: bool = True) -> dict[str, Any]:
    """Name of a group to its figure and the clips behind it; error rates and shares in percent, times in ms."""
    kinds = {group.name: group.of for group in GROUPS}
    used = {name: rows for name, rows in groups.items() if rows and (labels or kinds[name] in ("text", "exact"))}
    plain = {row.id: row for name, rows in used.items() if kinds[name] != "words" for row in rows}
    timed = {row.id: row for name, rows in used.items() if kinds[name] == "words" for row in rows}
    found = answers(list(plain.values()), False)
    times = answers(list(timed.values()), True) if timed else {}
    made = {}
    for name, rows in used.items():
        made[name] = _figure(kinds[name], rows, times if kinds[name] == "words" else found) | {"clips": len(rows)}
    return made


def _figure(kind: str, rows: Sequence[Utterance], found: Mapping[str, Utterance]) -> dict[str, float]:
    if kind == "words":
        return _times(rows, found)
    texts = {row.id: normalize(simplified(found[row.id].text or "")) for row in rows}
    if kind == "silence":
        return {"wrong": _percent(bool(texts[row.id]) for row in rows)}
    if kind == "exact":
        return {"right": _percent(texts[row.id] == normalize(row.text or "") for row in rows)}
    if kind == "text":
        mandarin = rows[0].language == "zh"
        rate = cer if mandarin else wer
        value = rate([normalize(row.text or "") for row in rows], [texts[row.id] for row in rows]).value
        return {"CER" if mandarin else "WER": round(100 * value, 1)}
    task = LABELS[kind]
    named = [found[row.id].summary[task].label if task in found[row.id].summary else None for row in rows]
    truths = [row.labels[kind] for row in rows]
    recalls: dict[str, list[bool]] = defaultdict(list)
    for truth, label in zip(truths, named, strict=True):
        recalls[truth].append(truth == label)
    mean = sum(sum(hits) / len(hits) for hits in recalls.values()) / len(recalls)
    right = accuracy(truths, [label or "" for label in named]).value
    return {"right": round(100 * right, 1), "mean recall": round(100 * mean, 1)}


def _times(rows: Sequence[Utterance], found: Mapping[str, Utterance]) -> dict[str, float]:
    recognised = [[word for segment in found[row.id].segments for word in segment.words] for row in rows]
    score = aas([row.words for row in rows], recognised)
    return {"AAS ms": round(score.value), "share": round(100 * score.detail["coverage"], 1)}


def _percent(hits: Iterable[bool]) -> float:
    known = list(hits)
    return round(100 * sum(known) / len(known), 1)


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Groups down, models across."""
    names = list(results)
    lines = ["| | clips | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for group in GROUPS:
        cells = [results[name].get(group.name) for name in names]
        if any(cells):
            clips = next(cell["clips"] for cell in cells if cell)
            shown = [", ".join(f"{k} {v:g}" for k, v in (cell or {}).items() if k != "clips") for cell in cells]
            lines.append(f"| {group.name} | {clips} | " + " | ".join(cell or "–" for cell in shown) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of checkpoints on the validation split.")
    parser.add_argument("--data", type=Path, required=True, help="folder that recipes.nano.build wrote")
    parser.add_argument("--model", nargs="+", required=True, help="checkpoint, packaged name, or whisper:NAME")
    parser.add_argument("--clips", type=int, default=50, help="of each group, at most (50)")
    parser.add_argument("--out", type=Path, help="JSON to write")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    groups = chosen(list(read_manifest(arguments.data / "valid.jsonl")), arguments.clips)
    results: dict[str, Any] = {}
    for model in arguments.model:
        whisper = model.startswith("whisper:")
        answers = WhisperAnswers(model.removeprefix("whisper:")) if whisper else Answers(model)
        results[model] = measure(groups, answers, labels=not whisper)
        if arguments.out:
            arguments.out.write_text(json.dumps(results, ensure_ascii=False, indent=1), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()

"""Build the training data of the embedded checkpoint: `python -m recipes.nano.build --kit DIR --out DIR`.

Writes packed audio (audio.i16), train, valid and test manifests, a tokenizer, excluded.json and
stats.json; the same kit and seed give the same files.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from osum import audio
from osum.audio import SAMPLE_RATE
from osum.corpus.manifest import write_manifest
from osum.corpus.packed import AUDIO, FULL_SCALE, Int16, PackedAudio, PackedWriter, to_int16
from osum.data.tokenizer import train_tokenizer
from osum.utterance import Utterance, Word
from recipes.nano import synthetic
from recipes.nano.mix import mixtures, one_word_time
from recipes.nano.recordings import MAX_SECONDS, deal, real_utterances
from recipes.nano.synthetic import Amounts, Job

SPLITS = ("train", "valid", "test")
_CHUNK = 512  # clips that one process makes on end
_PROMPT_WEIGHT = 20  # times the prompts count in the tokenizer's corpus

log = logging.getLogger(__name__)
Rows = dict[str, list[Utterance]]
T = TypeVar("T")
R = TypeVar("R")


def build(
    kit: Path, out: Path, seed: int = 1, amounts: Amounts | None = None, num_processes: int = 2
) -> dict[str, Any]:
    """Build everything; returns the statistics that are also written to `stats.json`.

    Args:
        kit: folder with `real/`, `text/` and `smoke/`.
        out: folder to write, made when missing.
        seed: decides splits, voices and mixtures.
        amounts: numbers of synthetic clips.
        num_processes: workers that decode and speak.
    """
    out.mkdir(parents=True, exist_ok=True)
    real, dropped = real_utterances(kit)
    (out / "excluded.json").write_text(json.dumps(dropped, ensure_ascii=False, indent=1), encoding="utf-8")
    for (source, reason), count in sorted(Counter((row["source"], row["reason"]) for row in dropped).items()):
        log.info("taken out: %d of %s: %s", count, source, reason)
    rows: Rows = {split: [] for split in SPLITS}
    with PackedWriter(out / AUDIO) as packed:
        _add(rows, _recordings(list(deal(real, seed)), num_processes), packed)
        _add(rows, _spoken(synthetic.jobs(kit, amounts or Amounts(), seed), num_processes), packed)
        packed.flush()
        _add(rows, _mixed(rows, PackedAudio(out / AUDIO), seed), packed)
    for split in SPLITS:
        write_manifest(out / f"{split}.jsonl", (row.with_(path=str(out / AUDIO)) for row in rows[split]))
    tokenizer = train_tokenizer(_corpus(rows["train"]), out / "tokenizer", always="".join(_prompts()))
    stats = statistics(rows) | {"seed": seed, "vocab_size": tokenizer.get_vocab_size()}
    (out / "stats.json").write_text(json.dumps(stats, ensure_ascii=False, indent=1), encoding="utf-8")
    return stats


def statistics(rows: Rows) -> dict[str, Any]:
    """Hours and counts of every split by source, and counts by label set and label."""
    table: dict[str, Any] = {}
    for split, utterances in rows.items():
        hours: Counter[str] = Counter()
        labels: dict[str, Counter[str]] = {}
        for row in utterances:
            hours[row.source or ""] += (row.duration or 0) / 3600  # type: ignore[assignment]
            for name, label in row.labels.items():
                labels.setdefault(name, Counter())[f"{label} ({row.extra['evidence']})"] += 1
        table[split] = {
            "clips": len(utterances),
            "hours": round(sum(hours.values()), 3),
            "clips_by_source": dict(Counter(row.source or "" for row in utterances).most_common()),
            "hours_by_source": {source: round(value, 3) for source, value in hours.most_common()},
            "labels": {name: dict(counts.most_common()) for name, counts in sorted(labels.items())},
            "with_text": sum(bool(row.text) for row in utterances),
            "no_speech": sum(row.text == "" for row in utterances),
            "with_words": sum(bool(row.words) for row in utterances),
            "with_reply": sum(row.reply is not None for row in utterances),
        }
    return table


def _add(rows: Rows, clips: Iterable[tuple[str, Utterance, Int16]], packed: PackedWriter) -> None:
    """Store clips and put their rows, now with their place, into their splits."""
    added: Rows = {split: [] for split in SPLITS}
    for split, row, samples in clips:
        if 0 < samples.size <= MAX_SECONDS * SAMPLE_RATE:
            extra = {**row.extra, **packed.append(samples)}
            added[split].append(row.with_(duration=round(samples.size / SAMPLE_RATE, 4), extra=extra))
    for split, part in added.items():
        rows[split] += part
        log.info("%s: +%d clips, %.2f h", split, len(part), sum(row.duration or 0 for row in part) / 3600)


def _recordings(dealt: list[tuple[str, Utterance]], num_processes: int) -> Iterator[tuple[str, Utterance, Int16]]:
    paths = [row.path for _, row in dealt]
    for (split, row), samples in zip(dealt, _parallel(decode, paths, num_processes), strict=True):
        yield split, one_word_time(row, samples.astype(np.float32) / np.float32(FULL_SCALE)), samples


def decode(path: str) -> Int16:
    """A file's waveform (S,) at 16 kHz."""
    return to_int16(audio.load(path))


def _spoken(jobs: list[Job], num_processes: int) -> Iterator[tuple[str, Utterance, Int16]]:
    for job, (samples, words) in zip(jobs, _parallel(_speak, jobs, num_processes, fresh=True), strict=True):
        spoken = job.spoken
        labels = {"language": spoken.language, "event": "none"}
        labels |= {"gender": job.gender} if job.gender else {}
        labels |= {"style": spoken.style} if spoken.style else {}
        extra = {"evidence": "synthetic", "kind": spoken.kind} | ({"times": "espeak"} if words else {})
        yield job.split, Utterance(
            id=job.id, path="", text=spoken.text, language=spoken.language, words=words, labels=labels,
            reply=spoken.reply, speaker=f"espeak_{job.voice.name}", source="espeak", extra=extra,
        ), samples  # fmt: skip


def _speak(job: Job) -> tuple[Int16, tuple[Word, ...]]:
    speech = synthetic.speak(job)
    return to_int16(speech.samples), speech.words


def _mixed(rows: Rows, packed: PackedAudio, seed: int) -> Iterator[tuple[str, Utterance, Int16]]:
    for index, split in enumerate(SPLITS):
        for row, samples in mixtures(split, tuple(rows[split]), packed.read, np.random.default_rng((seed, index))):
            yield split, row, to_int16(samples)


def _parallel(function: Callable[[T], R], items: list[T], num_processes: int, fresh: bool = False) -> Iterator[R]:
    """Results in the order of the items.

    With `fresh` every `_CHUNK` items get a new process: what espeak says depends on what it said before,
    so that only so the result is the same whatever the number of processes.
    """
    if num_processes <= 1 and not fresh:
        yield from map(function, items)
    elif items:
        context = multiprocessing.get_context("spawn")
        with context.Pool(num_processes, maxtasksperchild=1 if fresh else None) as pool:
            yield from pool.imap(function, items, chunksize=_CHUNK)


def _corpus(rows: Iterable[Utterance]) -> Iterator[str]:
    """What the tokenizer learns from: transcripts, replies, the prompts' text."""
    for row in rows:
        yield from (text for text in (row.text, row.reply) if text)
    yield from _prompts() * _PROMPT_WEIGHT


def _prompts() -> list[str]:
    """The prompt files' lines; they name every label and separator too."""
    folder = files("osum.tasks").joinpath("prompts")
    banks = [bank.read_text(encoding="utf-8") for bank in folder.iterdir() if bank.name.endswith(".yaml")]
    return [line.strip() for bank in sorted(banks) for line in bank.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the training data of nano.")
    parser.add_argument("--kit", type=Path, required=True, help="folder with real/, text/ and smoke/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    if not arguments.kit.is_dir():
        raise SystemExit(f"--kit {arguments.kit} is no folder: give the one with real/, text/ and smoke/")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stats = build(arguments.kit, arguments.out, arguments.seed, num_processes=arguments.processes)
    log.info("%s", json.dumps(stats, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()

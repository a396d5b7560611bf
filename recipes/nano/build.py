"""The training data of `nano`: `python -m recipes.nano.build --kit DIR --out DIR [--kokoro DIR] [--transcripts FILE]`.

Writes train, valid and test manifests, a tokenizer, excluded.json and stats.json. The clips come in parts (recordings,
Kokoro's speech, espeak's words, mixtures, talk and turns), each a packed file of its own in `parts/` that takes its
name when it is whole: stopped or killed, the same command continues with the part that was being made, and a part is
made again only when what it is made from has changed. The same kit, cache and seed give the same files.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio, as_clip
from osum.corpus.manifest import write_manifest
from osum.corpus.packed import FULL_SCALE, Float32, Int16, PackedAudio, PackedWriter, to_int16
from osum.corpus.vocal_events import Read
from osum.errors import AudioError, InputError, OsumError
from osum.files import atomic_file
from osum.utterance import Utterance, Word
from recipes.nano import synthetic, talk, texts
from recipes.nano.mix import mixtures, one_word_time
from recipes.nano.recordings import MAX_SECONDS, deal, read_rows, real_utterances
from recipes.nano.spoken import spoken_utterances
from recipes.nano.synthetic import Amounts, Job
from recipes.nano.texts import TURN_OF_KIND
from recipes.nano.tokenizer import train_tokenizer

SPLITS = ("train", "valid", "test")
_CHUNK = 512  # clips that one process makes on end
_PROMPT_WEIGHT = 20  # times the prompts count in the tokenizer's corpus
MOST_UNREADABLE = 0.02
"""Share of the recordings that may be unreadable; more is no matter of some clips."""

log = logging.getLogger(__name__)
Rows = dict[str, list[Utterance]]
Made = tuple[str, Utterance, Int16]
"""Split, row and samples (S,) of one clip."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Sources:
    """What the data is made from."""

    kit: Path
    """Folder with `real/`, `text/` and `smoke/`, perhaps `real2/`."""
    kokoro: Path | None = None
    """Cache that `recipes.nano.speak` filled; nothing of Kokoro without it."""
    transcripts: Path | None = None
    """What `recipes.nano.transcribe` wrote: transcripts of clips without text, and what it reads in Kokoro's speech."""


def build(
    sources: Sources, out: Path, seed: int = 1, amounts: Amounts | None = None, num_processes: int = 2
) -> dict[str, Any]:
    """Build everything that is not there yet; returns the statistics that are also written to `stats.json`.

    Args:
        sources: what it is made from.
        out: folder to write, made when missing.
        seed: decides splits, voices and mixtures.
        amounts: numbers of espeak's clips.
        num_processes: workers that decode and speak.

    Raises:
        InputError: the kit is incomplete, or many of its recordings cannot be read.
        OSError: the disk is full; parts that are whole stay.
    """
    out.mkdir(parents=True, exist_ok=True)
    read = transcripts(sources.transcripts)
    real, dropped = real_utterances(sources.kit, read)
    dealt = list(deal(real, seed))
    spoken = spoken_utterances(sources.kokoro, sources.kit / "text", read) if sources.kokoro else []
    jobs = synthetic.jobs(sources.kit, amounts or Amounts(), seed)
    rows: Rows = {split: [] for split in SPLITS}
    parts = _Parts(out)
    unread: list[dict[str, str]] = []
    parts.add(rows, "recordings", _print_of(dealt), _decoded(dealt, num_processes, unread))
    _check_unread(unread, len(dealt))
    parts.add(rows, "kokoro", _print_of(spoken), _decoded(spoken, num_processes, unread))
    parts.add(rows, "espeak", _print_of(jobs), _spoken(jobs, num_processes))
    parts.add(rows, "mixed", f"{seed} {parts.prints}", _made(rows, seed, mixtures))
    talk_jobs = talk.jobs(sources.kit, seed)
    answers = talk.answers(sources.kit / "text")
    parts.add(rows, "talk", _print_of(talk_jobs), _spoken(talk_jobs, num_processes, answers))
    turns_of = {name: parts.prints[name] for name in ("recordings", "kokoro")}
    parts.add(rows, "turns", f"{seed} {turns_of}", _made(rows, seed, talk.turns))
    for split in SPLITS:
        write_manifest(out / f"{split}.jsonl", rows[split])
    _write(out / "excluded.json", [*dropped, *unread])
    tokenizer = train_tokenizer(_corpus(rows["train"], sources.kit / "text"), out / "tokenizer", always=_always())
    stats = statistics(rows) | {"seed": seed, "vocab_size": tokenizer.get_vocab_size(), "parts": dict(parts.prints)}
    _write(out / "stats.json", stats)
    return stats


def transcripts(path: Path | None) -> dict[str, str]:
    """Clip id to what Whisper reads in it.

    Raises:
        InputError: the file is missing.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise InputError(f"{path} is missing: write it with python -m recipes.nano.transcribe, or leave it out")
    return {row["id"]: row["text"] for row in read_rows(path) if row["text"] is not None}


class _Parts:
    """The packed files of a data folder; one that is whole and made from the same things is taken as it is."""

    def __init__(self, out: Path) -> None:
        self._folder = out / "parts"
        self.prints: dict[str, str] = {}

    def add(self, rows: Rows, name: str, print_: str, clips: Iterable[Made]) -> None:
        """Put the part's rows into their splits; `clips` are drawn only where the part has to be made."""
        digest = hashlib.sha256(print_.encode()).hexdigest()[:16]
        packed, listed = self._folder / f"{name}.i16", self._folder / f"{name}.jsonl"
        self.prints[name] = digest
        if not self._is_whole(packed, listed, digest):
            self._make(packed, listed, digest, clips)
        head, *lines = listed.read_text(encoding="utf-8").splitlines()
        for line in lines:
            row = json.loads(line)
            rows[row.pop("split")].append(Utterance.from_dict(row).with_(path=str(packed)))
        log.info("%s: %d clips, %.2f h", name, len(lines), json.loads(head)["samples"] / SAMPLE_RATE / 3600)

    @staticmethod
    def _is_whole(packed: Path, listed: Path, digest: str) -> bool:
        if not packed.is_file() or not listed.is_file():
            return False
        with listed.open(encoding="utf-8") as file:
            head = json.loads(file.readline())
        return bool(head["made_from"] == digest and head["samples"] * 2 == packed.stat().st_size)

    def _make(self, packed: Path, listed: Path, digest: str, clips: Iterable[Made]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = packed.with_name(f".{packed.name}.partial")
        made: list[dict[str, Any]] = []
        try:
            with PackedWriter(partial) as writer:
                for split, row, samples in clips:
                    if 0 < samples.size <= MAX_SECONDS * SAMPLE_RATE:
                        extra = {**row.extra, **writer.append(samples)}
                        placed = row.with_(duration=round(samples.size / SAMPLE_RATE, 4), extra=extra, path=packed.name)
                        made.append({"split": split, **placed.to_dict()})
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        listed.unlink(missing_ok=True)  # never an old list next to a new file
        partial.replace(packed)
        head = {"made_from": digest, "samples": sum(row["num_samples"] for row in made)}
        with atomic_file(listed) as file:
            file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in (head, *made))


def _print_of(items: Iterable[Any]) -> str:
    """A text that differs where anything of the items does."""
    digest = hashlib.sha256()
    for item in items:
        plain = [item[0], item[1].to_dict()] if isinstance(item, tuple) else asdict(item)
        digest.update(json.dumps(plain, ensure_ascii=False, sort_keys=True).encode())
    return digest.hexdigest()


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


def _decoded(dealt: list[tuple[str, Utterance]], num_processes: int, unread: list[dict[str, str]]) -> Iterator[Made]:
    rows = [row for _, row in dealt]
    for (split, row), samples in zip(dealt, _parallel(decode, rows, num_processes), strict=True):
        if isinstance(samples, str):
            unread.append({"id": row.id, "source": row.source or "", "reason": samples})
            continue
        clip = as_clip(row, samples.size)
        yield split, one_word_time(clip, samples.astype(np.float32) / np.float32(FULL_SCALE)), samples


def decode(row: Utterance) -> Int16 | str:
    """A row's waveform (S,) at 16 kHz, or why it cannot be read."""
    try:
        return to_int16(ClipAudio().read(row))
    except AudioError as fault:
        return str(fault)


def _check_unread(unread: list[dict[str, str]], count: int) -> None:
    for row in unread:
        log.warning("left out: %s: %s", row["id"], row["reason"])
    if len(unread) > MOST_UNREADABLE * count:
        raise InputError(
            f"{len(unread)} of {count} recordings cannot be read, first {unread[0]['id']} ({unread[0]['reason']}): "
            "complete the kit with python -m recipes.nano.kit"
        )


def _spoken(jobs: list[Job], num_processes: int, answers: Mapping[str, str] | None = None) -> Iterator[Made]:
    for job, (samples, words) in zip(jobs, _parallel(_speak, jobs, num_processes, fresh=True), strict=True):
        labels = {"language": "en", "event": "none"} | ({"gender": job.gender} if job.gender else {})
        labels |= {"turn": TURN_OF_KIND[job.kind]} if job.kind in TURN_OF_KIND else {}
        extra = {"evidence": "synthetic", "kind": job.kind} | ({"times": "espeak"} if words else {})
        yield job.split, Utterance(
            id=job.id, path="", text=job.text, language="en", words=words, labels=labels,
            speaker=f"espeak_{job.voice.name}", extra=extra,
            reply=(answers or {}).get(job.text), source="espeak" if answers is None else "espeak-talk",
        ), samples  # fmt: skip


def _speak(job: Job) -> tuple[Int16, tuple[Word, ...]]:
    speech = synthetic.speech(job)
    return to_int16(speech.samples), speech.words


Maker = Callable[[str, Sequence[Utterance], Read, np.random.Generator], Iterator[tuple[Utterance, Float32]]]


def _made(rows: Rows, seed: int, maker: Maker) -> Iterator[Made]:
    """Clips made of the clips of each split."""
    audio: dict[str, PackedAudio] = {}

    def read(row: Utterance) -> np.ndarray[Any, np.dtype[np.float32]]:
        if row.path not in audio:
            audio[row.path] = PackedAudio(row.path)
        return audio[row.path].read(row)

    for index, split in enumerate(SPLITS):
        for row, samples in maker(split, tuple(rows[split]), read, np.random.default_rng((seed, index))):
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
            yield from pool.imap(function, items, chunksize=_CHUNK if fresh else 64)


def _corpus(rows: Iterable[Utterance], folder: Path) -> Iterator[str]:
    """What the tokenizer learns from: transcripts, replies, sentences of the kit's texts, the prompts' text."""
    for row in rows:
        yield from (text for text in (row.text, row.reply) if text)
    if (folder / "tatoeba_en_zh.jsonl").is_file():
        for language in ("en", "zh"):
            yield from map(texts.transcript_of, texts.sentences(folder, language, "train"))
    yield from _prompts() * _PROMPT_WEIGHT


def _always() -> str:
    return "".join(_prompts())


def _prompts() -> list[str]:
    """The prompt files' lines; they name every label and separator too."""
    folder = files("osum.tasks").joinpath("prompts")
    banks = [bank.read_text(encoding="utf-8") for bank in folder.iterdir() if bank.name.endswith(".yaml")]
    return [line.strip() for bank in sorted(banks) for line in bank.splitlines()]


def _write(path: Path, value: Mapping[str, Any] | list[Any]) -> None:
    with atomic_file(path) as file:
        file.write(json.dumps(value, ensure_ascii=False, indent=1).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the training data of nano.")
    parser.add_argument("--kit", type=Path, required=True, help="folder with real/, text/ and smoke/, perhaps real2/")
    parser.add_argument("--kokoro", type=Path, help="cache that recipes.nano.speak filled")
    parser.add_argument("--transcripts", type=Path, help="file that recipes.nano.transcribe wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, or to continue")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sources = Sources(arguments.kit, arguments.kokoro, arguments.transcripts)
    for name in ("real", "smoke", "text"):
        if not (sources.kit / name).is_dir():
            raise SystemExit(f"--kit {sources.kit} has no folder {name}: make it with python -m recipes.nano.kit")
    try:
        stats = build(sources, arguments.out, arguments.seed, num_processes=arguments.processes)
    except OsumError as fault:
        raise SystemExit(f"error: {fault}") from fault
    except OSError as fault:
        if fault.errno != errno.ENOSPC:
            raise
        raise SystemExit(f"{arguments.out}: the disk is full; free some space and run the same command") from fault
    log.info("%s", json.dumps(stats, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()

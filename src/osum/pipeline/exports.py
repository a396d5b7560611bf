"""A finished corpus in the forms of others: dialogues, Parquet, lhotse, the original's forms, Label Studio.

Every form is made of a manifest, so it serves any corpus. Sound that is stored in tars is written as 16 kHz flac where
a form needs files. Every file appears whole or not at all.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import PLACE_FIELDS, ClipAudio, as_clip, without_place
from osum.corpus.dialogues import USER_LABELS, Dialogue, DialogueTurn, write_dialogues
from osum.corpus.readers import Manifest
from osum.corpus.shards import add_member
from osum.corpus.sound_file import flac, wav
from osum.errors import InputError, MissingExtraError
from osum.files import atomic_file
from osum.pipeline.export_options import ExportOptions
from osum.pipeline.row import NO_SOUND
from osum.tasks import OSUM, REPLY_EMOTIONS
from osum.text import to_json
from osum.utterance import Utterance

PER_FILE = 1000
"""Rows of one tar, or of one Parquet file."""


def export(corpus: Path, form: str, out: Path, options: ExportOptions | None = None) -> int:
    """Write a corpus in a form; returns the number of rows.

    Args:
        corpus: a manifest, or a folder of them.
        form: one of `FORMS`.
        out: a folder; for `dialogues` a file.
        options: of some forms.

    Raises:
        InputError: an unknown form, a folder that holds something, or no row that fits.
    """
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise InputError(f"{out} is there already: name another place, or remove it")
    count = FORMS[form](corpus, out, options or ExportOptions())
    if not count:
        raise InputError(f"{corpus} has no row that form {form} can hold: nothing was written")
    return count


def rows_of(corpus: Path) -> Iterator[Utterance]:
    """The rows of a corpus.

    Raises:
        InputError: a line of it is broken.
    """
    for line in Manifest(corpus):
        if line.utterance is None:
            raise InputError(f"{line.place}: {line.fault}")
        if Path(line.utterance.path).name != NO_SOUND:
            yield line.utterance


# Dialogues


def export_dialogues(corpus: Path, out: Path, _: ExportOptions | None = None) -> int:
    """Rows with a text and a reply as dialogues of one turn each, which recipes/dialogue_*.yaml train on."""
    return write_dialogues(out, (_dialogue(row) for row in rows_of(corpus) if row.text and row.reply))


def _dialogue(row: Utterance) -> Dialogue:
    labels = {name: label for name, label in row.labels.items() if name in USER_LABELS}
    place = {name: value for name, value in row.extra.items() if name in PLACE_FIELDS}
    channel = row.channel if isinstance(row.channel, int) else None
    feeling = row.labels.get(REPLY_EMOTIONS.name)
    codes = tuple(row.extra.get("reply_codes", ()))
    thought = row.extra.get("thought")
    question = DialogueTurn(
        "user", row.text, row.path, row.start, row.end, channel, row.duration, labels=labels, place=place
    )
    answer = DialogueTurn("assistant", row.reply, thought=thought, emotion=feeling, codes=codes)
    kept = {name: row.extra[name] for name in ("provenance", "split", "judge_score") if name in row.extra}
    return Dialogue(row.id, (question, answer), row.language, row.speaker, row.source, row.licence, kept)


# Files of sound


def _with_file(row: Utterance, folder: Path, number: int) -> tuple[Utterance, str]:
    """The row of a flac file of its own, and the file's name below the folder."""
    samples = ClipAudio().read(row)
    name = f"audio/{number // PER_FILE:06d}/{number:09d}.flac"
    with atomic_file(folder / name) as file:
        file.write(flac(samples))
    return without_place(as_clip(row, len(samples))), name


def _write_lines(path: Path, lines: Iterable[str]) -> int:
    count = 0
    with atomic_file(path) as file:
        for count, line in enumerate(lines, 1):  # noqa: B007 - the count is asked for behind the loop
            file.write(f"{line}\n".encode())
    return count


# lhotse


def _lhotse(corpus: Path, out: Path, _: ExportOptions) -> int:
    """`cuts.jsonl`, a MonoCut a row, and its sound."""
    return _write_lines(out / "cuts.jsonl", (to_json(_cut(row, out, at)) for at, row in enumerate(rows_of(corpus))))


def _cut(given: Utterance, out: Path, number: int) -> dict[str, Any]:
    row, name = _with_file(given, out, number)
    seconds = row.duration or 0.0
    count = round(seconds * SAMPLE_RATE)
    custom = {**row.labels, **({"reply": row.reply} if row.reply else {}), **row.extra}
    recording = {
        "id": row.id,
        "sources": [{"type": "file", "channels": [0], "source": str(out / name)}],
        "sampling_rate": SAMPLE_RATE,
        "num_samples": count,
        "duration": count / SAMPLE_RATE,
        "channel_ids": [0],
    }
    spoken: dict[str, Any] = {
        "id": row.id,
        "recording_id": row.id,
        "start": 0.0,
        "duration": count / SAMPLE_RATE,
        "channel": 0,
        "text": row.text,
        "language": row.language,
        "speaker": row.speaker,
        "gender": row.labels.get("gender"),
        "custom": custom,
    }
    if row.words:
        words = [[w.text, w.start, round(w.end - w.start, 6), w.confidence] for w in row.words]
        spoken["alignment"] = {"word": words}
    return {
        "id": row.id,
        "start": 0.0,
        "duration": count / SAMPLE_RATE,
        "channel": 0,
        "supervisions": [{name: value for name, value in spoken.items() if value is not None}],
        "recording": recording,
        "type": "MonoCut",
    }


# Parquet, as Hugging Face datasets read it


def _parquet(corpus: Path, out: Path, _: ExportOptions) -> int:
    """`data/train-00000.parquet` ... with a column `audio` that `datasets.load_dataset` decodes, and the whole row."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as fault:
        raise MissingExtraError("pyarrow", "parquet") from fault
    labels = dict.fromkeys(name for row in rows_of(corpus) for name in row.labels)
    text, audio = pyarrow.string(), pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    names = ("id", "text", "language", "speaker", "source", "licence", "reply", *labels, "row")
    columns = [("audio", audio), ("duration", pyarrow.float64()), *((name, text) for name in dict.fromkeys(names))]
    info = {"info": {"features": {"audio": {"sampling_rate": SAMPLE_RATE, "_type": "Audio"}, **_features(columns[1:])}}}
    schema = pyarrow.schema(columns, metadata={"huggingface": json.dumps(info)})
    rows, count = rows_of(corpus), 0
    for number, part in enumerate(iter(lambda: list(islice(rows, PER_FILE)), [])):
        table = pyarrow.Table.from_pylist([_cells(row, list(labels)) for row in part], schema)
        with atomic_file(out / f"data/train-{number:05d}.parquet") as file:
            pyarrow.parquet.write_table(table, file)
        count += len(part)
    return count


def _features(columns: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: {"dtype": "float64" if name == "duration" else "string", "_type": "Value"} for name, _ in columns}


def _cells(given: Utterance, labels: list[str]) -> dict[str, Any]:
    samples = ClipAudio().read(given)
    row = without_place(as_clip(given, len(samples))).with_(path=f"{given.id}.flac")
    cells = {name: getattr(row, name) for name in ("id", "text", "speaker", "source", "licence", "reply", "duration")}
    audio = {"bytes": flac(samples), "path": row.path}
    named = {name: row.labels.get(name) for name in labels} | {"language": row.language or row.labels.get("language")}
    return {**cells, **named, "audio": audio, "row": to_json(row.to_dict())}


# The original's forms (OSUM spec 4, echat spec 3.3)


def _original_row(row: Utterance, wav: str, task: str) -> dict[str, Any] | None:
    """A row of the release; None where the task cannot be asked of it."""
    found = OSUM.find(task)
    if not found.can_render(row):
        return None
    extra = {"dataset": row.source or "", "age": row.labels.get("age", "")}
    feelings = {name: (row.labels.get(name) or "<NONE>") for name in ("emotion", "gender")}
    return {
        "key": row.id,
        "wav": wav,
        "txt": found.render(row),
        "task": found.tag,
        "lang": row.language or "<NONE>",
        "speaker": row.speaker or "<NONE>",
        **feelings,
        "duration": row.duration or 0.0,
        "extra": extra,
    }


def _originals(corpus: Path, options: ExportOptions) -> Iterator[tuple[dict[str, Any], Utterance]]:
    for row in rows_of(corpus):
        if made := _original_row(row, "", options.task):
            yield made, row


def _original_raw(corpus: Path, out: Path, options: ExportOptions) -> int:
    """`data.list`: one JSON object a line, next to wav files."""

    def lines() -> Iterator[str]:
        for number, (made, row) in enumerate(_originals(corpus, options)):
            path = out / f"wav/{number // PER_FILE:06d}/{number:09d}.wav"
            with atomic_file(path) as file:
                file.write(wav(ClipAudio().read(row)))
            yield to_json({**made, "wav": str(path)})

    return _write_lines(out / "data.list", lines())


def _original_shard(corpus: Path, out: Path, options: ExportOptions) -> int:
    """Tars of `KEY.txt KEY.wav KEY.task ...`, and `shards_list.txt`."""
    return _tars(corpus, out, options, combine=False)


def _original_combine(corpus: Path, out: Path, options: ExportOptions) -> int:
    """Tars of sound and text, a list of metadata next to each, `combines_list.txt` and `combines_tar_root.txt`."""
    return _tars(corpus, out, options, combine=True)


def _tars(corpus: Path, out: Path, options: ExportOptions, combine: bool) -> int:
    rows, count, tars = _originals(corpus, options), 0, []
    for number, part in enumerate(iter(lambda: list(islice(rows, PER_FILE)), [])):
        path = out / f"shards_{number:09d}.tar"
        with atomic_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for at, (made, row) in enumerate(part, count):
                for suffix, content in _members(made, row).items():
                    add_member(tar, file, f"{at:09d}.{suffix}", content)
        tars.append(path)
        if combine:
            metadata = ({**made, "key": f"{at:09d}", "wav": ""} for at, (made, _) in enumerate(part, count))
            _write_lines(path.with_suffix(".list"), map(to_json, metadata))
        count += len(part)
    if combine:
        _write_lines(out / "combines_list.txt", (str(path.with_suffix(".list")) for path in tars))
        _write_lines(out / "combines_tar_root.txt", [str(out)])
    else:
        _write_lines(out / "shards_list.txt", map(str, tars))
    return count


def _members(made: dict[str, Any], row: Utterance) -> dict[str, bytes]:
    texts = {name: str(made[name]) for name in ("txt", "task", "lang", "speaker", "emotion", "gender", "duration")}
    return {
        **{name: text.encode() for name, text in texts.items()},
        "extra": to_json(made["extra"]).encode(),
        "wav": wav(ClipAudio().read(row)),
    }


# Label Studio


def _label_studio(corpus: Path, out: Path, options: ExportOptions) -> int:
    """`tasks.json` with the text and the labels as predictions, and the sound files."""
    tasks = []
    for number, given in enumerate(rows_of(corpus)):
        row, name = _with_file(given, out, number)
        found = [_result("transcription", "textarea", "text", [row.text])] if row.text is not None else []
        found += [_result(label_set, "choices", "choices", [label]) for label_set, label in sorted(row.labels.items())]
        data = {"audio": f"{options.url}{name}", "id": row.id, "speaker": row.speaker or ""}
        tasks.append({"data": data, "predictions": [{"model_version": "osum", "result": found}]})
    with atomic_file(out / "tasks.json") as file:
        file.write(to_json(tasks, indent=1).encode())
    return len(tasks)


def _result(name: str, kind: str, key: str, values: list[str | None]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "audio", "type": kind, "value": {key: values}}


FORMS: dict[str, Callable[[Path, Path, ExportOptions], int]] = {
    "dialogues": export_dialogues,
    "lhotse": _lhotse,
    "parquet": _parquet,
    "original-raw": _original_raw,
    "original-shard": _original_shard,
    "original-combine": _original_combine,
    "label-studio": _label_studio,
}

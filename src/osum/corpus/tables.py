"""Corpora that are no JSON lines: csv and tsv (Common Voice among them), Kaldi folders, Parquet with a column of audio.

A line that is broken comes out as a fault with its place. Sound inside a Parquet file is written next to it once, as it
is. Knows nothing of what the audio holds.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from osum.corpus.readers import Line
from osum.errors import InputError, ManifestError, MissingExtraError
from osum.files import atomic_file
from osum.tasks import OSUM
from osum.utterance import Utterance

TABLES = {".csv": ",", ".tsv": "\t"}
COLUMNS = {
    "id": ("id", "key", "utt_id", "name"),
    "path": ("path", "audio", "file", "filename", "audio_path", "audio_filepath", "wav"),
    "text": ("text", "sentence", "transcript", "transcription", "txt"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
    "language": ("language", "locale", "lang"),
    "source": ("source", "dataset"),
    "licence": ("licence", "license"),
}
"""Field to the names that columns have for it, the first that is there counts."""
_SPELLED = {
    **{"male_masculine": "male", "female_feminine": "female", "m": "male", "f": "female"},
    **dict.fromkeys(("teens", "twenties", "thirties", "forties", "fourties", "fifties"), "adult"),
    **dict.fromkeys(("sixties", "seventies", "eighties", "nineties"), "old"),
}
"""Common Voice's and Kaldi's labels to ours; teenagers sound like adults (the paper, on SAP)."""
_LANGUAGES = {"zh-cn": "zh", "zh-tw": "zh", "cmn": "zh", "mandarin": "zh", "en-us": "en", "en-gb": "en"}


def is_table(path: Path) -> bool:
    """Whether a path is of a form that this module reads."""
    return path.suffix.lower() in (*TABLES, ".parquet") or (path / "wav.scp").is_file()


def table_lines(path: Path) -> Iterator[Line]:
    """The rows of a csv, tsv or Parquet file, or of a Kaldi folder, in order.

    Raises:
        InputError: the file cannot be read, or has no column with audio or text.
        MissingExtraError: Parquet needs pyarrow.
    """
    if path.is_dir():
        yield from _kaldi(path)
    elif path.suffix.lower() == ".parquet":
        yield from _parquet(path)
    else:
        yield from _delimited(path)


def _delimited(path: Path) -> Iterator[Line]:
    """Common Voice keeps its clips in `clips/` next to the table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = TABLES[path.suffix.lower()]
            if delimiter == "	":  # quotes are letters there
                rows = csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)
            else:
                rows = csv.DictReader(file, delimiter=delimiter)
            _check_columns(path, rows.fieldnames or ())
            for number, row in enumerate(rows, 2):
                place = f"{path}:{number}"
                if None in row or None in row.values():
                    yield Line(place, fault=f"{len(rows.fieldnames or ())} columns are needed, as in the first line")
                else:
                    yield _line(place, row, path.parent)
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise InputError(f"{path} cannot be read ({fault}): save it as UTF-8") from fault


def _check_columns(path: Path, names: Any) -> None:
    if not any(_column(names, field) for field in ("path", "text")):
        known = ", ".join((*COLUMNS["path"], *COLUMNS["text"]))
        raise InputError(
            f"{path}: columns {', '.join(names) or 'none'} have neither audio nor text; name one of {known}"
        )


def _column(names: Any, field: str) -> str | None:
    lower = {str(name).lower(): str(name) for name in names}
    return next((lower[name] for name in COLUMNS[field] if name in lower), None)


def _line(place: str, row: Mapping[str, Any], root: Path, sound: str | None = None) -> Line:
    """A row of a table: known columns, label sets, and whatever else it has."""
    found = {
        field: str(row[name]) for field in COLUMNS if (name := _column(row, field)) and row[name] not in (None, "")
    }
    path = sound or found.get("path")
    labels: dict[str, str] = {}
    used = {name for field in COLUMNS if (name := _column(row, field))}
    for label_set in OSUM.label_sets.values():
        value = str(row.get(label_set.name) or "").strip().lower()
        if label_set.name == "language" or not value:
            continue
        used.add(label_set.name)
        label = label_set.canonical(_SPELLED.get(value, value))
        if label is not None:
            labels[label_set.name] = label
    language = found.get("language", "").lower()
    rest = {name: value for name, value in row.items() if name not in used and isinstance(value, (str, int, float))}
    name = found.get("id") or (Path(path).with_suffix("").as_posix() if path else place)
    made: dict[str, Any] = {
        "id": name,
        "path": str(_found(root, path)) if path else "-",
        **{field: found[field] for field in ("text", "speaker", "source", "licence") if field in found},
        **({"language": _LANGUAGES.get(language, language)} if language else {}),
        "labels": labels,
        **{key: value for key, value in rest.items() if value != "" and key not in ("id", "path", "labels", "version")},
    }
    try:
        return Line(place, Utterance.from_dict(made))
    except ManifestError as fault:
        return Line(place, fault=str(fault))


def _found(root: Path, path: str) -> Path:
    next_to, in_clips = (root / path).absolute(), (root / "clips" / path).absolute()
    return in_clips if not next_to.exists() and in_clips.exists() else next_to


def _kaldi(folder: Path) -> Iterator[Line]:
    """`wav.scp`, and where they are `segments`, `text`, `utt2spk`, `spk2gender`, `utt2lang`."""
    sounds = dict(_pairs(folder / "wav.scp"))
    text, speakers = dict(_pairs(folder / "text")), dict(_pairs(folder / "utt2spk"))
    genders, languages = dict(_pairs(folder / "spk2gender")), dict(_pairs(folder / "utt2lang"))
    segments = dict(_pairs(folder / "segments")) or {name: name for name in sounds}
    for name, where in segments.items():
        place = f"{folder}:{name}"
        recording, *times = where.split()
        sound = sounds.get(recording)
        if sound is None or sound.endswith("|"):
            why = "is not in wav.scp" if sound is None else "is a command in wav.scp: write its output to a file"
            yield Line(place, fault=f"recording {recording} {why}")
            continue
        speaker = speakers.get(name)
        gender = _SPELLED.get(genders.get(speaker or "", "").lower())
        try:
            start, end = (float(times[0]), float(times[1])) if times else (None, None)
        except (ValueError, IndexError):
            yield Line(place, fault=f"segments has {where!r}: RECORDING START END is needed")
            continue
        yield Line(
            place,
            Utterance(
                name, str((folder / sound).absolute()), start=start, end=end, text=text.get(name), speaker=speaker,
                language=_LANGUAGES.get(languages.get(name, "").lower(), languages.get(name)),
                labels={"gender": gender} if gender else {},
            ),
        )  # fmt: skip


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """The first word of each line, and the rest; nothing where there is no file.

    Raises:
        InputError: it is no UTF-8.
    """
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                name, _, rest = line.strip().partition(" ")
                if name:
                    yield name, rest.strip()
    except UnicodeDecodeError as fault:
        raise InputError(f"{path} is not UTF-8 ({fault}): save it as UTF-8") from fault


def _parquet(path: Path) -> Iterator[Line]:
    """As Hugging Face datasets write them: a column `audio` with bytes, or with a path."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as fault:
        raise MissingExtraError("pyarrow", "parquet") from fault
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowInvalid) as fault:
        raise InputError(f"{path} cannot be read ({fault}): fetch it again") from fault
    with file:
        _check_columns(path, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(64):
            for row in batch.to_pylist():
                number += 1
                yield _parquet_line(path, number, row)


def _parquet_line(path: Path, number: int, row: dict[str, Any]) -> Line:
    place = f"{path}:{number}"
    sound = row.get("audio")
    if not isinstance(sound, dict) or not sound.get("bytes"):
        named = sound.get("path") if isinstance(sound, dict) else sound
        return _line(place, {**row, "audio": named}, path.parent)
    name = Path(str(sound.get("path") or "sound.wav")).name
    out = path.with_name(f"{path.stem}.audio") / f"{number:09d}{Path(name).suffix or '.wav'}"
    if not out.exists():
        with atomic_file(out) as copy:
            copy.write(sound["bytes"])
    given = {key: value for key, value in row.items() if key != "audio"}
    return _line(place, {"id": Path(name).stem, **given}, path.parent, str(out.absolute()))

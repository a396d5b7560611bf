"""Rows of other projects' manifests as rows of ours: one function per dialect, JSON object in, JSON objects out.

What a row says in tags (`你好<anger>`) is read by the task's own parser. Knows nothing of files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from osum.errors import ManifestError, TaskError
from osum.tasks import ECHAT, OSUM, RELEASE, Task, TaskSet
from osum.text import did_you_mean
from osum.utterance import Utterance

Row = Mapping[str, Any]

_UNKNOWN = frozenset(("", "none", "null", "nan", "n/a", "unk", "unknown", "&&"))
"""What raw data writes where a value is not known; the original writes `<NONE>`, `none`, and `<&&>` in thoughts."""
_LANGUAGES = {
    **dict.fromkeys(("cn", "zh-cn", "zh_cn", "zho", "cmn", "chinese", "mandarin"), "zh"),
    **dict.fromkeys(("en-us", "en_us", "en-gb", "en_gb", "eng", "english"), "en"),
}
_OUR_FIELDS = frozenset(("version", *(item.name for item in fields(Utterance)))) - {"extra"}
_AUDIO_TAG = "<audio>"
_HARMLESS_TRANSFORMS = frozenset(("Resample", "resample"))
"""Transforms of a lhotse recording that reading at 16 kHz undoes anyway."""


@dataclass(frozen=True)
class Reading:
    """What a reader needs to know in addition to the row."""

    tasks: TaskSet = OSUM
    """Whose tags and prompts are understood; a task that it does not have is one of the releases'."""
    task: str | None = None
    """The task of rows that do not name one; transcription without it."""
    seen: Counter[str] = field(default_factory=Counter)
    """How often a name was given in this file: NeMo and ms-swift name no rows."""

    def find(self, name: str | None) -> Task:
        """The task of a name, tag or label set.

        Raises:
            ManifestError: there is none.
        """
        wanted = name or self.task or "ASR"
        try:
            return self.tasks.find(wanted)
        except TaskError as fault:
            with suppress(TaskError):
                return ECHAT.find(wanted)
            raise ManifestError(str(fault)) from fault

    @cached_property
    def by_prompt(self) -> dict[str, str]:
        """Every known prompt to the name of its task."""
        return {
            prompt.strip(): task.name
            for tasks in (RELEASE, ECHAT, self.tasks)
            for task in tasks.tasks
            for language in tasks.languages
            for prompt in _prompts(tasks, task, language)
        }

    def name_of(self, path: object, start: float | None = None) -> str:
        """A name for a row that has none: its path without suffix, its start, and a count when it comes again."""
        name = str(path).removeprefix("./").lstrip("/").rsplit(".", 1)[0] + (f"@{start:g}" if start else "")
        self.seen[name] += 1
        return name if self.seen[name] == 1 else f"{name}#{self.seen[name]}"


def _prompts(tasks: TaskSet, task: Task, language: str) -> tuple[str, ...]:
    try:
        return tasks.prompts(task, language)
    except TaskError:  # not every task has prompts in every language
        return ()


@dataclass(frozen=True)
class Dialect:
    """How one project writes its rows."""

    name: str
    marks: tuple[frozenset[str], ...]
    """Fields by which a row is known: all of any one set."""
    rows: Callable[[Row, Reading], Iterator[dict[str, Any]]]
    """JSON row to our JSON rows; raises ManifestError."""

    def fits(self, row: Row) -> bool:
        """Whether a row is of this dialect."""
        return any(marks <= row.keys() for marks in self.marks)

    def read(self, row: Row, reading: Reading) -> Iterator[Utterance]:
        """The utterances of a row.

        Raises:
            ManifestError: the row is not what a row must be.
        """
        try:
            for ours in self.rows(row, reading):
                yield Utterance.from_dict({name: value for name, value in ours.items() if value is not None})
        except KeyError as fault:
            raise ManifestError(f"no field {fault}: a {self.name} row needs it") from fault
        except (TypeError, ValueError, OverflowError, AttributeError) as fault:
            raise ManifestError(f"a field has the wrong type for a {self.name} row: {fault}") from fault


# The dialects


def _osum(row: Row, _: Reading) -> Iterator[dict[str, Any]]:
    yield dict(row)


def _original(row: Row, reading: Reading) -> Iterator[dict[str, Any]]:
    """The release's raw JSONL (OSUM spec 4); `extra` stays as it is, and what it says of the clip is read."""
    known = {**(row.get("extra") or {}), **row}
    tag = known.get("task")
    named = None if tag is None or tag.strip().strip("<>").lower() in _UNKNOWN else tag
    yield {
        **_rest(row, reading, "key wav txt task lang start end duration speaker"),
        "id": str(row["key"]),
        "path": row["wav"],
        **{name: row.get(name) for name in ("start", "end")},
        "duration": float(known.get("duration") or 0) or None,
        "language": language_of(known, "lang", "language"),
        "speaker": known_name(known.get("speaker")),
        "source": known_name(known.get("dataset")),
        **_answer(row["txt"], named, known, reading, begin=float(row.get("start") or 0)),
    }


def _nemo(row: Row, reading: Reading) -> Iterator[dict[str, Any]]:
    """NeMo's `audio_filepath, duration, text`; with an `offset` the row is a stretch of the file (s)."""
    start = None if row.get("offset") is None else float(row["offset"])
    duration = None if row.get("duration") is None else float(row["duration"])
    yield {
        **_rest(row, reading, "audio_filepath offset duration text lang source_lang speaker id"),
        "id": known_name(row.get("id")) or reading.name_of(row["audio_filepath"], start),
        "path": row["audio_filepath"],
        "start": start,
        "end": None if start is None or duration is None else start + duration,
        "duration": duration,
        "language": language_of(row, "lang", "source_lang", "language"),
        "speaker": known_name(row.get("speaker")),
        **_answer(row.get("text"), None, row, reading, begin=start or 0.0),
    }


def _swift(row: Row, reading: Reading) -> Iterator[dict[str, Any]]:
    """ms-swift's `messages, audios`: one clip, one question, one answer; the question names the task."""
    audios = [row["audios"]] if isinstance(row["audios"], str) else list(row["audios"])
    said = {role: [m["content"] for m in row["messages"] if m["role"] == role] for role in ("user", "assistant")}
    if [len(audios), len(said["user"]), len(said["assistant"])] != [1, 1, 1]:
        counts = f"{len(audios)} audios, {len(said['user'])} questions, {len(said['assistant'])} answers"
        raise ManifestError(f"{counts}: a row is one clip with one question and one answer; write a row for each")
    prompt = said["user"][0].replace(_AUDIO_TAG, "").strip()
    named = reading.by_prompt.get(prompt) or reading.task
    if named is None:
        raise ManifestError(f"prompt {prompt[:60]!r} is none of osum's: name what it asks, as in --task SER")
    yield {
        **_rest(row, reading, "messages audios id lang speaker"),
        "id": known_name(row.get("id")) or reading.name_of(audios[0]),
        "path": audios[0],
        "language": language_of(row, "lang", "language"),
        "speaker": known_name(row.get("speaker")),
        **_answer(said["assistant"][0], named, row, reading),
    }


def _lhotse(row: Row, reading: Reading) -> Iterator[dict[str, Any]]:
    """lhotse's cuts: a row for each supervision, of its stretch; a cut without any is one row without text."""
    if "recording" not in row:
        kind = row.get("type", "cut")
        raise ManifestError(f"a {kind} has no file of its own: write it with cut.save_audio and list the copy")
    begin, length = float(row["start"]), float(row["duration"])
    spoken = row.get("supervisions") or [{}]
    for number, supervision in enumerate(spoken):
        start = max(0.0, float(supervision.get("start", 0.0)))
        end = min(length, float(supervision.get("start", 0.0)) + float(supervision.get("duration", length)))
        custom = {**(row.get("custom") or {}), **(supervision.get("custom") or {})}
        ours = {
            "id": row["id"] if len(spoken) == 1 else f"{row['id']}-{number}",
            **_lhotse_audio(row["recording"], row.get("channel", 0)),
            "start": round(begin + start, 8),
            "end": round(begin + end, 8),
            "duration": round(end - start, 8),
            "language": language_of(supervision, "language"),
            "speaker": known_name(supervision.get("speaker")),
            **_answer(supervision.get("text"), None, {**custom, **supervision}, reading),
        }
        if words := (supervision.get("alignment") or {}).get("word"):
            ours["words"] = [_lhotse_word(item, begin) for item in words]
        yield {**({"custom": custom} if custom else {}), **ours}


def _lhotse_audio(recording: Row, wanted: int | list[int]) -> dict[str, Any]:
    """Path and channel: a lhotse channel is counted over all files of the recording, ours within one file."""
    changed = {item.get("name", "?") for item in recording.get("transforms") or ()} - _HARMLESS_TRANSFORMS
    if changed:
        names = ", ".join(sorted(changed))
        raise ManifestError(f"the file does not hold the cut, which is transformed ({names}): write it with save_audio")
    channels = wanted if isinstance(wanted, list) else [wanted]
    for source in recording["sources"]:
        if not set(channels) <= set(source["channels"]):
            continue
        if source["type"] != "file":
            raise ManifestError(f"audio of type {source['type']!r} is no file: write it with cut.save_audio")
        whole = set(channels) == set(source["channels"])
        return {"path": source["source"], "channel": None if whole else source["channels"].index(channels[0])}
    raise ManifestError(f"no file of recording {recording['id']!r} holds channels {channels}: save them as one file")


def _lhotse_word(item: Any, begin: float) -> dict[str, Any]:
    """`[symbol, start, duration, score]`, times from the cut's beginning, to times from the file's."""
    symbol, start, duration, score = (*item, None)[:4]
    return {"text": symbol, "start": begin + start, "end": begin + start + duration, "confidence": score}


DIALECTS = (
    Dialect("osum", (frozenset(("id", "path")),), _osum),
    Dialect("original", (frozenset(("key", "wav")),), _original),
    Dialect("nemo", (frozenset(("audio_filepath",)),), _nemo),
    Dialect("swift", (frozenset(("messages",)),), _swift),
    Dialect("lhotse", tuple(frozenset((mark,)) for mark in ("recording", "supervisions", "tracks")), _lhotse),
)


# What they share


def _answer(text: object, named: str | None, row: Row, reading: Reading, begin: float = 0.0) -> dict[str, Any]:
    """Text, words, labels, reply and task of a row; a tag in the text wins over a field of the row.

    Times in the text count from the clip's beginning, at `begin` s of the file; ours count from the file's.
    """
    labels = _labels(row, reading.tasks)
    if text is None:
        return {"labels": labels, "text": None}
    if not isinstance(text, str):
        raise ManifestError(f"text is {text!r}: write a text")
    task = reading.find(named)
    result = task.parse(text)
    # People do say one thing many times; a loop is a fault of a model's answer only.
    if wrong := [problem for problem in result.problems if not problem.startswith(("repetition loop", "U+"))]:
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise ManifestError(f"{shown!r} does not fit task {task.name}: {'; '.join(wrong)}; {_form(task)}")
    labels |= {name: label for name, label in result.labels.items() if label is not None}
    return {
        "text": None if task.transcript == "none" else result.text,
        "words": [{"text": w.text, "start": begin + w.start, "end": begin + w.end} for w in result.words],
        "labels": labels,
        "reply": result.reply,
        "tasks": [task.name] if named or reading.task else [],
    }


def _form(task: Task) -> str:
    """How an answer to a task is written, for an error."""
    if not task.label_sets:
        return "name the row's task in 'task', or with --task" if not task.reply else "write text<开始回答>reply"
    words = "" if task.transcript == "none" else "text"
    return f"write {words}" + "".join(f"<{'|'.join(labels.labels)}>" for labels in task.label_sets)


def _labels(row: Row, tasks: TaskSet) -> dict[str, str]:
    """Labels that stand in fields of their own, such as `gender`."""
    found: dict[str, str] = {}
    for name, labels in tasks.label_sets.items():
        value = known_name(row.get(name)) if name != "language" else None
        if value is None:
            continue
        label = labels.canonical(value)
        if label is None:
            hint = did_you_mean(value, labels.labels)
            raise ManifestError(f"{name} is {value!r}: {hint}use one of {', '.join(labels.labels)}, or none")
        found[name] = label
    return found


def known_name(value: object) -> str | None:
    """A name without the release's brackets; None where it says that nothing is known."""
    name = "" if value is None else str(value).strip().removeprefix("<").removesuffix(">").strip()
    return None if name.lower() in _UNKNOWN else name


def language_of(row: Row, *names: str) -> str | None:
    """The code of the first field that holds a language."""
    name = next((known.lower() for name in names if (known := known_name(row.get(name)))), None)
    return None if name is None else _LANGUAGES.get(name, name)


def _rest(row: Row, reading: Reading, used: str) -> dict[str, Any]:
    """Fields that say nothing to osum, kept; one that has the name of ours but another meaning is renamed."""
    read = {*used.split(), *reading.tasks.label_sets}
    return {f"original_{name}" if name in _OUR_FIELDS else name: row[name] for name in row if name not in read}

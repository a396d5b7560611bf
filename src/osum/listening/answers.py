"""From what a model said about a window to a `Segment`, and from segments to the summary of a file.

Pure values: knows neither the model nor audio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from osum.listening.word_times import in_file, placed, spans_of, units_of
from osum.scoring.normalize import mixed_units
from osum.tasks import Task, TaskResult, normalise_target
from osum.text import is_broken
from osum.utterance import Answer, Segment, Word

Sureness = Callable[[str, Sequence[str]], Sequence[float | None]]
NO_SPEECH = 0.5
"""From this probability on, a window counts as holding no speech."""
EVENT, NO_EVENT = "event", "none"
UNKNOWN = "unknown"
"""In place of a label that is not probable enough."""
DISAGREES = "the decoded tag says"
"""Begins the problem of an answer whose decoded tag is not the likeliest label."""


@dataclass
class AnsweredWindow:
    """All answers about one window."""

    seconds: float
    raws: Mapping[str, str]
    """Task name to raw answer."""
    distributions: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)
    """(task name, label set name) to label to probability."""
    no_speech_probability: float | None = None
    silent: bool | None = None
    """What the question about silence decides; None where it was not asked, and the transcript has to."""
    voice: bool | None = None
    """Whether a sound without speech is a voice; None where that was not asked."""
    sureness: Sureness = lambda *_: ()
    """How sure the answer of a task is of each of its words or characters, in order."""
    withhold: bool = True
    """Whether what was said of silence counts as not said."""


def answer_key(task: Task, label_set: str) -> str:
    """Where an answer is filed: the task's name, with the label set's behind it where it has several."""
    return task.name if len(task.label_sets) <= 1 else f"{task.name}/{label_set}"


def join_text(parts: Sequence[str]) -> str:
    """Transcripts of neighbouring windows as one text: blanks between words, none next to Chinese."""
    return normalise_target(" ".join(part for part in parts if part))


def segment_of(window: AnsweredWindow, tasks: Sequence[Task], offset: float) -> Segment:
    """Put one window's answers together; times count from `offset`, in seconds of the file."""
    parsed = {task.name: task.parse(window.raws[task.name]) for task in tasks}
    transcribing = _transcribing(tasks)
    text = normalise_target(_sayable(parsed[transcribing.name].text)) if transcribing else None
    no_speech = text == "" if window.silent is None else window.silent
    silent = no_speech and window.withhold
    present = {"speech": not silent, "voice": not silent or bool(window.voice), "sound": True}
    timed = next((parsed[task.name] for task in tasks if task.transcript == "timed"), None)
    moved = _moved(timed, window.seconds) if timed else None
    sure = tuple(window.sureness(transcribing.name, mixed_units(text or ""))) if transcribing and not silent else ()
    words = _words(timed, text, window.seconds) if timed and text and not silent else ()
    labels: dict[str, Answer] = {}
    for task in tasks:
        extra = (moved,) if moved and task.transcript == "timed" else ()
        labels.update(_answers(task, parsed[task.name], window, present[task.needs], extra))
    reply = next((parsed[task.name].reply for task in tasks if task.reply), None)
    return Segment(
        start=round(offset, 4),
        end=round(offset + window.seconds, 4),
        text="" if silent else text or "",
        confidences=sure,
        words=in_file(words, offset, sure),
        labels=labels,
        reply=None if silent else reply,
        no_speech=no_speech,
        no_speech_probability=window.no_speech_probability,
    )


def silence_of(start: float, end: float) -> Segment:
    """A stretch of silence, about which nothing was asked."""
    return Segment(round(start, 4), round(end, 4), no_speech=True)


def _transcribing(tasks: Sequence[Task]) -> Task | None:
    """The plainest task that has a transcript: bare, then with tags, then with times."""
    having = [task for task in tasks if task.transcript != "none"]
    return min(having, key=lambda task: (task.transcript == "timed", len(task.label_sets) + task.reply), default=None)


def names_event(task: Task) -> bool:
    """Whether a task names the vocal event, and can say that there is none."""
    return any(labels.name == EVENT and NO_EVENT in labels.labels for labels in task.label_sets)


def is_silent(text: str, probability: float | None) -> bool:
    """Whether an answer of that text, which is empty with that probability, says that nothing is said."""
    return text == "" or (probability is not None and probability >= NO_SPEECH)


def _answers(
    task: Task, result: TaskResult, window: AnsweredWindow, makes_sense: bool, extra: tuple[str, ...]
) -> dict[str, Answer]:
    problems = (*result.problems, *extra)
    if not task.label_sets:
        return {task.name: Answer(None, raw=result.raw, problems=problems, evidence=task.evidence)}
    answers = {}
    for labels in task.label_sets:
        distribution = window.distributions[task.name, labels.name]
        label = max(distribution, key=distribution.__getitem__)
        said = result.labels[labels.name]
        noted = problems if said in (None, label) else (*problems, f"{DISAGREES} {said}")
        answers[answer_key(task, labels.name)] = (
            Answer(label, distribution[label], distribution, result.raw, noted, task.evidence)
            if makes_sense
            else Answer(None, None, None, result.raw, (*problems, f"no {task.needs}"), task.evidence)
        )
    return answers


def disagreements(segment: Segment) -> list[str]:
    """The answers of a segment whose decoded tag is not the likeliest label."""
    noted = {key: answer.problems for key, answer in segment.labels.items()}
    return [key for key, problems in noted.items() if any(problem.startswith(DISAGREES) for problem in problems)]


def _sayable(text: str) -> str:
    """Without what nobody can say; the answer's problems report it."""
    return "".join(character for character in text if not is_broken(character))


def _words(result: TaskResult, text: str, seconds: float) -> tuple[Word, ...]:
    """The words of `text` by a timed answer, in seconds of the window; none where the answer says another text."""
    units = units_of(text)
    if normalise_target(_sayable(result.text)) != text or not units:
        return ()
    return placed([unit.text for unit in units], spans_of(result.words, units), seconds)


def _moved(result: TaskResult, seconds: float) -> str | None:
    """What is wrong with the times of an answer; that a word ends after the next begins is usual (OSUM spec 3.4)."""
    last, moved = 0.0, 0
    for word in result.words:
        start = min(max(word.start, last), seconds)
        moved += (start, min(max(word.end, start), seconds)) != (word.start, word.end)
        last = start
    return f"{moved} word times were out of order or outside the clip" if moved else None


def summary_of(segments: Sequence[Segment], tasks: Sequence[Task]) -> dict[str, Answer]:
    """One answer per label of the whole file: the mean distribution, weighted by duration."""
    summary = {}
    for task in tasks:
        for labels in task.label_sets:
            key = answer_key(task, labels.name)
            answered = [segment for segment in segments if key in segment.labels]
            having = [(segment.end - segment.start, segment.labels[key].distribution) for segment in answered]
            summary[key] = _mean([(weight, found) for weight, found in having if found is not None], task)
    return summary


def _mean(weighted: Sequence[tuple[float, Mapping[str, float]]], task: Task) -> Answer:
    total = sum(weight for weight, _ in weighted)
    if not weighted or total <= 0:
        return Answer(None, evidence=task.evidence)
    names = weighted[0][1]
    mean = {name: sum(weight * found[name] for weight, found in weighted) / total for name in names}
    label = max(mean, key=mean.__getitem__)
    return Answer(label, mean[label], mean, evidence=task.evidence)


def is_sure(answer: Answer, least: float) -> bool:
    """Whether an answer is at least so probable; one without a label is not in doubt."""
    return answer.probability is None or answer.probability >= least


def doubted(answers: Mapping[str, Answer], least: float) -> dict[str, Answer]:
    """The answers with `UNKNOWN` for the labels that are not probable enough; all else stays."""
    return {
        key: answer if is_sure(answer, least) else replace(answer, label=UNKNOWN) for key, answer in answers.items()
    }

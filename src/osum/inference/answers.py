"""From what a model said about a window to a `Segment`, and from segments to the summary of a file.

Pure values: knows neither the model nor audio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from osum.tasks import Task, TaskResult, normalise_target
from osum.utterance import Answer, Segment, Word

NO_SPEECH = 0.5
"""From this probability on, a window counts as holding no speech."""
NO_EVENT = "none"


@dataclass
class Heard:
    """All answers about one window, as they come in."""

    seconds: float
    raws: dict[str, str] = field(default_factory=dict)
    """Task name to raw answer."""
    distributions: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    """(task name, label set name) to label to probability."""
    no_speech_probability: float | None = None

    def before(self, task: Task, index: int) -> str:
        """The raw text that the tag of a task's label set stands behind: transcript and earlier tags."""
        raw = self.raws[task.name]
        found = task.parse(raw).labels
        earlier = [f"<{found[labels.name] or labels.labels[0]}>" for labels in task.label_sets[:index]]
        return task.transcript_of(raw) + "".join(earlier)


def answer_key(task: Task, label_set: str) -> str:
    """Where an answer is filed: the task's name, with the label set's behind it where it has several."""
    return task.name if len(task.label_sets) <= 1 else f"{task.name}/{label_set}"


def join_text(parts: Sequence[str]) -> str:
    """Transcripts of neighbouring windows as one text: blanks between words, none beside Chinese."""
    return normalise_target(" ".join(part for part in parts if part))


def segment_of(heard: Heard, tasks: Sequence[Task], offset: float) -> Segment:
    """Put one window's answers together; times count from `offset`, in seconds of the file."""
    parsed = {task.name: task.parse(heard.raws[task.name]) for task in tasks}
    text = _transcript(tasks, parsed)
    probability = heard.no_speech_probability
    no_speech = text == "" or (probability is not None and probability >= NO_SPEECH)
    event = _event(heard, tasks)
    present = {"speech": not no_speech, "voice": not no_speech or event not in (None, NO_EVENT), "sound": True}
    words, word_problem = _words(tasks, parsed, heard.seconds, offset)
    labels: dict[str, Answer] = {}
    for task in tasks:
        extra = (word_problem,) if word_problem and task.transcript == "timed" else ()
        labels.update(_answers(task, parsed[task.name], heard, present[task.needs], extra))
    reply = next((parsed[task.name].reply for task in tasks if task.reply), None)
    return Segment(
        start=round(offset, 4),
        end=round(offset + heard.seconds, 4),
        text="" if no_speech else text or "",
        words=() if no_speech else words,
        labels=labels,
        reply=None if no_speech else reply,
        no_speech=no_speech,
        no_speech_probability=probability,
    )


def _transcript(tasks: Sequence[Task], parsed: Mapping[str, TaskResult]) -> str | None:
    """The transcript of the plainest task that has one: bare, then with tags, then with times."""
    having = [task for task in tasks if task.transcript != "none"]
    having.sort(key=lambda task: (task.transcript == "timed", len(task.label_sets) + task.reply))
    return normalise_target(parsed[having[0].name].text) if having else None


def _event(heard: Heard, tasks: Sequence[Task]) -> str | None:
    """The vocal event; None where it was not asked, or where no answer could have said that there is none."""
    for task in tasks:
        for labels in task.label_sets:
            if labels.name == "event" and NO_EVENT in labels.labels:
                distribution = heard.distributions[task.name, labels.name]
                return max(distribution, key=distribution.__getitem__)
    return None


def _answers(
    task: Task, result: TaskResult, heard: Heard, makes_sense: bool, extra: tuple[str, ...]
) -> dict[str, Answer]:
    problems = (*result.problems, *extra)
    if not task.label_sets:
        return {task.name: Answer(None, raw=result.raw, problems=problems, evidence=task.evidence)}
    answers = {}
    for labels in task.label_sets:
        distribution = heard.distributions[task.name, labels.name]
        label = max(distribution, key=distribution.__getitem__)
        said = result.labels[labels.name]
        noted = problems if said in (None, label) else (*problems, f"the decoded tag says {said}")
        answers[answer_key(task, labels.name)] = (
            Answer(label, distribution[label], distribution, result.raw, noted, task.evidence)
            if makes_sense
            else Answer(None, None, None, result.raw, (*problems, f"no {task.needs}"), task.evidence)
        )
    return answers


def _words(
    tasks: Sequence[Task], parsed: Mapping[str, TaskResult], seconds: float, offset: float
) -> tuple[tuple[Word, ...], str | None]:
    """Words in file time, never running backwards and never outside their window."""
    found = next((parsed[task.name].words for task in tasks if task.transcript == "timed"), ())
    words, last, moved = [], 0.0, 0
    for word in found:
        start = min(max(word.start, last), seconds)
        end = min(max(word.end, start), seconds)
        moved += (start, end) != (word.start, word.end)
        words.append(Word(word.text, round(offset + start, 4), round(offset + end, 4), word.confidence))
        last = start
    return tuple(words), f"{moved} word times were out of order or outside the clip" if moved else None


def summary_of(segments: Sequence[Segment], tasks: Sequence[Task]) -> dict[str, Answer]:
    """One answer per label of the whole file: the mean distribution, weighted by duration."""
    summary = {}
    for task in tasks:
        for labels in task.label_sets:
            key = answer_key(task, labels.name)
            having = [(segment.end - segment.start, segment.labels[key].distribution) for segment in segments]
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

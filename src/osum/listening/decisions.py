"""Decisions: typed questions about a recording, each answered with a probability for every option.

1. A question whose options are labels of one of the checkpoint's label sets is that task's own question: its scores are
   restricted to the options, and calibrated where the checkpoint is.
2. Any other question is asked in its own words, and each option is scored as a text that the model might answer.
3. All are asked in one pass. The engine answers each as if it were alone, so that no probability depends on the others.

Worked example: `happy, sad` are emotions, so they are scored with the tags of `SER`, say happy .3, sad .1, all others
.6; restricted to the two that is happy .75, sad .25. `polite, rude` are no labels: they are scored as texts.

The forms of questions and answers are those of `pipeline("decision")` (transformers) and of System One.
Knows neither the model nor wire formats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from osum.engine.options import LabelOptions
from osum.errors import QuestionError, TaskError
from osum.listening.answers import EVENT, NO_EVENT, answer_key
from osum.listening.asked import Asked, prompt_language, prompts
from osum.listening.vad import detector_named
from osum.tasks import LabelSet, Task, TaskSet
from osum.text import normalise_target
from osum.utterance import Segment, Utterance

SENSITIVE = frozenset(("gender", "age", "emotion"))
"""Label sets that a caller may have refused."""
MAX_OPTIONS = 255
MAX_LEVELS = 10
LIKELY = 0.5
"""Probability from which on a window counts as holding an event."""
Kind = Literal["predicate", "choice", "score"]
_YES_NO = {"zh": ("是", "否")}
"""How a yes and a no are answered, by the language of the prompts; English where it is not named."""
_ASKS = {"zh": "{question}\n选项：{options}。"}
_ASK = "{question}\nAnswer with one of: {options}."
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(?:\s*(?:-|–|to)\s*(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Option:
    """One answer that a question may have."""

    value: str | bool
    description: str | None = None

    @property
    def text(self) -> str:
        """As a model would write it."""
        return str(self.value).lower() if isinstance(self.value, bool) else self.value


TRUE, FALSE = Option(True), Option(False)


@dataclass(frozen=True)
class Inquiry:
    """One typed question: whether something holds, which of some options, or how high on a scale."""

    kind: Kind
    instructions: str = ""
    options: tuple[Option, ...] = (TRUE, FALSE)
    """Of a predicate true and false, of a score its levels, lowest first."""
    name: str | None = None

    def check(self, number: int) -> None:
        """Refuse a question that has no answer.

        Raises:
            QuestionError: too few or too many options, two that are alike, or nothing that is asked.
        """
        most = MAX_LEVELS if self.kind == "score" else MAX_OPTIONS
        place = {"predicate": "criteria", "choice": "choices", "score": "levels"}[self.kind]
        if not 2 <= len(self.options) <= most:
            raise QuestionError(number, place, f"{len(self.options)} options: give 2 to {most}")
        if len({(type(option.value), option.value) for option in self.options}) < len(self.options):
            raise QuestionError(number, place, "two options are alike: give each its own value")
        if not (self.instructions.strip() or self.name or self.kind != "predicate"):
            raise QuestionError(number, "instructions", "nothing is asked: say what may hold")


@dataclass(frozen=True)
class EventSpan:
    """A stretch that holds an event, in seconds."""

    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class Decision:
    """The answer to one question."""

    inquiry: Inquiry
    probabilities: tuple[float, ...] = ()
    """Of each option in their order; they sum to 1. Empty where it is refused."""
    spans: tuple[EventSpan, ...] = ()
    calibrated: bool = False
    source: Literal["label", "open"] = "open"
    """Whether a label set of the model answered, or its options were scored as texts."""

    @property
    def refused(self) -> bool:
        """Whether it is not answered, since it is about a sensitive attribute."""
        return not self.probabilities

    @property
    def best(self) -> int:
        """Which option is the likeliest."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """Probability of the likeliest option."""
        return self.probabilities[self.best]

    @property
    def score(self) -> float:
        """Expected number of the level, the lowest being 0."""
        return sum(level * probability for level, probability in enumerate(self.probabilities))

    @property
    def value(self) -> float | None:
        """Expected value in the units that the levels name, such as `20-30`; None where they name no numbers."""
        middles = [_middle(option.text) for option in self.inquiry.options]
        if self.inquiry.kind != "score" or any(middle is None for middle in middles):
            return None
        return sum((middle or 0.0) * p for middle, p in zip(middles, self.probabilities, strict=True))

    def answer(self) -> dict[str, Any]:
        """In the form of System One, with what it has no field for under `osum`."""
        if self.refused:
            return {"type": "refusal"}
        options = self.inquiry.options
        if self.inquiry.kind == "predicate":
            return {"type": "noul", "noul": self.probabilities[0], "osum": self.facts()}
        if self.inquiry.kind == "choice":
            among = {option.text: p for option, p in zip(options, self.probabilities, strict=True)}
            chosen = options[self.best].text
            found = {"type": "choice", "choice": chosen, "confidence": self.confidence, "probabilities": among}
            return {**found, "osum": self.facts()}
        return {
            "type": "score",
            "score": self.score,
            "confidence": self.confidence,
            "legend": {str(level): option.text for level, option in enumerate(options)},
            "probabilities": {str(level): p for level, p in enumerate(self.probabilities)},
            "osum": self.facts(),
        }

    def facts(self) -> dict[str, Any]:
        """Where an event is, whether the numbers are calibrated, and what answered."""
        found: dict[str, Any] = {"calibrated": self.calibrated, "source": self.source}
        if self.spans:
            found["spans"] = [{"start": s.start, "end": s.end, "probability": s.probability} for s in self.spans]
        if self.value is not None:
            found["value"] = self.value
        return found


def inquiries_of(questions: Mapping[str, Mapping[str, Any]]) -> list[Inquiry]:
    """Questions in the form of System One: `{name: {type: noul | choice | score, instructions, criteria}}`.

    Raises:
        QuestionError: one that has no such form.
    """
    return [_inquiry(number, name, each) for number, (name, each) in enumerate(questions.items())]


def _inquiry(number: int, name: str, question: Any) -> Inquiry:
    given = question if isinstance(question, Mapping) else {}
    kind, instructions, criteria = given.get("type"), given.get("instructions") or "", given.get("criteria")
    if not isinstance(instructions, str):
        raise QuestionError(number, "instructions", "instructions are no text: give a string")
    if kind == "noul" and isinstance(criteria or {}, Mapping) and set(criteria or {}) <= {"true", "false"}:
        said = criteria or {}
        options = tuple(Option(value, _text_or_none(said.get(str(value).lower()))) for value in (True, False))
        return Inquiry("predicate", instructions, options, name)
    if kind == "choice" and isinstance(criteria, Mapping):
        return Inquiry(
            "choice", instructions, tuple(Option(str(k), _text_or_none(v)) for k, v in criteria.items()), name
        )
    if kind == "score" and isinstance(criteria, Sequence) and all(isinstance(level, str) for level in criteria):
        return Inquiry("score", instructions, tuple(map(Option, criteria)), name)
    raise QuestionError(
        number,
        "type" if kind not in ("noul", "choice", "score") else "criteria",
        "use {type: noul, criteria: {true, false}}, {type: choice, criteria: {option: description}} or "
        "{type: score, criteria: [level, ...]}",
    )


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


@dataclass(frozen=True)
class _Way:
    """How one question is answered: which task, and which of its labels stands for each option."""

    inquiry: Inquiry
    task: Task | None = None
    labels: tuple[str, ...] = ()
    """Label of each option; of a predicate about a label, that label alone."""
    source: Literal["label", "open"] = "open"


@dataclass(frozen=True)
class DecisionPlan:
    """What some questions ask a model, and how its answer is read."""

    ways: tuple[_Way, ...]
    asked: Asked | None
    """None where all are refused."""

    @classmethod
    def of(
        cls,
        inquiries: Sequence[Inquiry],
        tasks: TaskSet,
        context: str = "",
        marks: Sequence[str] = (),
        refuse: frozenset[str] = frozenset(),
    ) -> DecisionPlan:
        """Plan the answers.

        Args:
            inquiries: the questions, in the order of their answers.
            tasks: what the checkpoint answers.
            context: what is said of the recording; open questions are asked behind it.
            marks: texts that steer the model, and must not be in a question.
            refuse: label sets about which nothing is answered.

        Raises:
            QuestionError: a question that cannot be asked.
        """
        words: dict[str, str] = {}
        chosen: dict[str, Task] = {}
        ways = []
        for number, inquiry in enumerate(inquiries):
            inquiry.check(number)
            way = _by_label(inquiry, tasks) or _open(inquiry, number, tasks)
            if _is_refused(way, tasks, refuse):
                way = _Way(inquiry)
            if way.task is not None:
                chosen[way.task.name] = way.task
                words[way.task.name] = (
                    prompts(tasks, way.task, None)[0]
                    if way.source == "label"
                    else _asked(way, number, context, prompt_language(tasks), marks)
                )
            ways.append(way)
        options = LabelOptions(tasks=tuple(chosen), withhold=False)
        asked = Asked(options, tuple(chosen.values()), words, detector_named(options.vad)) if chosen else None
        return cls(tuple(ways), asked)

    def decisions(self, row: Utterance | None) -> tuple[Decision, ...]:
        """The answers, read from what the model said of the recording."""
        return tuple(_decided(way, row) for way in self.ways)


def _by_label(inquiry: Inquiry, tasks: TaskSet) -> _Way | None:
    """The question as one of the checkpoint's own, where its options are labels of one set."""
    for task in (task for task in tasks.main if len(task.label_sets) == 1):
        (labels,) = task.label_sets
        if inquiry.kind == "predicate":
            named = next(filter(None, (_named(text, labels) for text in (inquiry.instructions, inquiry.name))), None)
            found: tuple[str, ...] = (named,) if named else ()
        else:
            known = [_label(option.text, labels) for option in inquiry.options]
            found = tuple(label for label in known if label is not None)
            found = found if len(set(found)) == len(known) else ()
        if found:
            return _Way(inquiry, task, found, "label")
    return None


def _label(text: str, labels: LabelSet) -> str | None:
    """The label that a text means, by the model's name of it or the English one."""
    titles = {title.lower(): label for label, title in labels.display.items()}
    return labels.canonical(text) or titles.get(text.lower().strip())


def _named(text: str | None, labels: LabelSet) -> str | None:
    """The label that a predicate is about: `laugh`, or `event=laugh`."""
    if text is None:
        return None
    name, mark, value = text.partition("=")
    if mark and name.strip().lower() != labels.name:
        return None
    return _label(value if mark else text, labels)


def _open(inquiry: Inquiry, number: int, tasks: TaskSet) -> _Way:
    """The question with its options as labels of a set of its own."""
    yes_no = _YES_NO.get(prompt_language(tasks), ("yes", "no"))
    texts = yes_no if inquiry.kind == "predicate" else tuple(normalise_target(o.text) for o in inquiry.options)
    name = f"DECISION{number}"
    try:
        labels = LabelSet("decision", texts)
        task = Task(name, f"<{name}>", "decision", "none", label_sets=(labels,), needs="sound")
    except TaskError as fault:
        place = "levels" if inquiry.kind == "score" else "choices"
        raise QuestionError(number, place, f"an option cannot be answered as a text ({fault})") from fault
    return _Way(inquiry, task, texts)


def _asked(way: _Way, number: int, context: str, language: str, marks: Sequence[str]) -> str:
    """The words of an open question."""
    texts = [text + (f" ({o.description})" if o.description else "") for text, o in
             zip(way.labels, way.inquiry.options, strict=True)]  # fmt: skip
    question = "\n".join(part for part in (context.strip(), way.inquiry.instructions or way.inquiry.name or "") if part)
    said = _ASKS.get(language, _ASK).format_map({"question": question, "options": ", ".join(texts)})
    if mark := next((mark for mark in marks if mark in said), None):
        raise QuestionError(number, "instructions", f"it holds {mark!r}, which steers the model: take it out")
    return said


def _is_refused(way: _Way, tasks: TaskSet, refuse: frozenset[str]) -> bool:
    """Whether a question is about one of some label sets: by its labels, or by a word of what it asks."""
    if not refuse or way.task is None:
        return False
    if way.source == "label":
        return any(labels.name in refuse for labels in way.task.label_sets)
    inquiry = way.inquiry
    said = " ".join(
        (inquiry.instructions, inquiry.name or "", *(f"{o.text} {o.description or ''}" for o in inquiry.options))
    )
    about = set(refuse) | {
        text.lower() for name in refuse if (labels := tasks.label_sets.get(name)) for text in labels.labels
    } - {"other"}  # fmt: skip
    return bool(about & set(re.findall(r"\w+", said.lower())))


def _decided(way: _Way, row: Utterance | None) -> Decision:
    if way.task is None or row is None:
        return Decision(way.inquiry)
    (labels,) = way.task.label_sets
    key = answer_key(way.task, labels.name)
    among = row.summary[key].distribution or dict.fromkeys(labels.labels, 1 / len(labels.labels))
    is_event = way.source == "label" and labels.name == EVENT
    if way.inquiry.kind == "predicate" and way.source == "label":
        (label,) = way.labels
        sure = _at_most(label, key, row, among) if is_event and label != NO_EVENT else among[label]
        found: tuple[float, ...] = (sure, 1.0 - sure)
    else:
        total = sum(among[label] for label in way.labels)
        found = tuple(among[label] / total if total else 1 / len(way.labels) for label in way.labels)
    likeliest = way.labels[0] if len(way.labels) == 1 else way.labels[max(range(len(found)), key=found.__getitem__)]
    spans = _spans(row.segments, key, likeliest) if is_event and likeliest != NO_EVENT else ()
    return Decision(way.inquiry, found, spans, way.task.temperature is not None, way.source)


def _at_most(label: str, key: str, row: Utterance, mean: Mapping[str, float]) -> float:
    """How sure an event is in the window where it is the likeliest: a laugh in an hour is a laugh."""
    return max((found[label] for found in _distributions(row.segments, key)), default=mean[label])


def _distributions(segments: Sequence[Segment], key: str) -> list[Mapping[str, float]]:
    answers = (segment.labels.get(key) for segment in segments)
    return [answer.distribution for answer in answers if answer is not None and answer.distribution]


def _spans(segments: Sequence[Segment], key: str, label: str) -> tuple[EventSpan, ...]:
    """The stretches in which a label is likely, neighbours joined."""
    found: list[EventSpan] = []
    for segment in segments:
        answer = segment.labels.get(key)
        p = (answer.distribution or {}).get(label, 0.0) if answer else 0.0
        if p < LIKELY:
            continue
        if found and found[-1].end >= segment.start:
            found[-1] = EventSpan(found[-1].start, segment.end, max(found[-1].probability, p))
        else:
            found.append(EventSpan(segment.start, segment.end, p))
    return tuple(found)


def _middle(text: str) -> float | None:
    """The middle of the numbers that a level names: 25 of `20-30`, 60 of `60+`."""
    found = _NUMBER.search(text)
    return None if found is None else (float(found[1]) + float(found[2] or found[1])) / 2

"""The chief figures: one line for each aim of the project, on exactly the clips that the aim is about.

Each stands beside the commonest training label, a guess from the source alone, and the better classical baseline. The
first two know the training clips of the slice only (of events inside speech, none without an event); the third was
fitted on all recordings that have the label, as nano learned from all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from answers import REPLY, Answered, reply_of, text_of, words_of
from figures import (
    QUESTIONS,
    RAVDESS,
    SOURCE,
    Predictors,
    Question,
    commonest,
    interval,
    percent,
    resampling,
    score_row,
    source_guess,
    speakers,
    table,
)

from osum.evaluation.nano_split import (
    Holds,
    has_reply,
    is_adult,
    is_adult_of_both_genders,
    is_burst,
    is_plain_synthetic,
    is_unseen,
    is_wordless,
    mixed_into,
    of_source,
    synthetic_sentence,
)
from osum.scoring import Resampling, Score, aas, accuracy, cer, mer, normalize, wer
from osum.utterance import Utterance

MAJORITY, CLASSICAL, NANO = "majority", "classical", "nano"
Metric = Callable[[Sequence[str], Sequence[str | None], Resampling], Score]
Row = dict[str, Any]
ASKED: Mapping[str, Question] = {question.name: question for question in QUESTIONS}


def wrong(references: Sequence[str], hypotheses: Sequence[str | None], drawn: Resampling) -> Score:
    """Share of clips whose answer is not exactly right."""
    score = accuracy(references, hypotheses, drawn)
    return replace(score, name="error", value=1 - score.value, low=1 - score.high, high=1 - score.low)


def word_errors(references: Sequence[str], hypotheses: Sequence[str | None], drawn: Resampling) -> Score:
    """Word error rate; no answer is an empty one."""
    return wer(references, [text or "" for text in hypotheses], drawn)


@dataclass(frozen=True, slots=True)
class LabelSlice:
    """Labels, or single words, of some clips."""

    title: str
    data: str
    """The clips, in words."""
    question: Question
    holds: Holds
    trained: Holds | None = None
    """The training clips that the simple rivals know, where they are others."""
    metric: Metric = accuracy
    merged: Mapping[str, str] = field(default_factory=dict)
    """Labels that count as another."""

    def truth(self, row: Utterance) -> str | None:
        """The right label."""
        return self.merge(self.question.truth(row))

    def merge(self, label: str | None) -> str | None:
        """The label that one counts as."""
        return self.merged.get(label, label) if label else None


@dataclass(frozen=True, slots=True)
class TextSlice:
    """Transcripts of some clips."""

    title: str
    data: str
    holds: Holds
    metric: Callable[[Sequence[str], Sequence[str], Resampling], Score]


# Slices

LABELS = (
    LabelSlice("gender, adults", "speechocean762, LibriSpeech, FSDD", ASKED["SGC"], is_adult),
    LabelSlice("gender, adults", "the same without FSDD, which holds men only", ASKED["SGC"], is_adult_of_both_genders),
    LabelSlice("gender, adults", "RAVDESS", ASKED["SGC"], lambda row: row.source == RAVDESS, trained=is_adult),
    LabelSlice("age, child or adult", "all recordings", ASKED["SAP"], is_unseen),
    LabelSlice(
        "age, child or adult", "speechocean762, both ages in one source", ASKED["SAP"], of_source("speechocean762")
    ),
    LabelSlice("language", "all recordings", ASKED["LID"], is_unseen),
    LabelSlice("language", "DSPSpeech-20, both languages in one source", ASKED["LID"], of_source("dspspeech20")),
    LabelSlice(
        "event: cry, sneeze, laugh, sigh, other",
        "recordings without speech whose event is known; other: ESC-10's sounds without a voice, where none counts too",
        ASKED["VED"],
        is_wordless,
        merged={"none": "other"},
    ),
    LabelSlice("event inside speech", "mixed into recordings", ASKED["VED"], mixed_into("real")),
    LabelSlice("event inside speech", "mixed into synthetic voices", ASKED["VED"], mixed_into("synthetic")),
    LabelSlice("emotion of vocal bursts", "EmoGator without pain and relief", ASKED["SER"], is_burst),
    LabelSlice("style of text read aloud", "synthetic", ASKED["SSR"], is_plain_synthetic),
    LabelSlice("digits, WER", "FSDD, one speaker", ASKED["digits"], is_unseen, metric=word_errors),
    LabelSlice("20 words, wrong ones", "DSPSpeech-20", ASKED["words"], is_unseen, metric=wrong),
)
TEXTS = (
    TextSlice("sentences, WER", "synthetic, English", synthetic_sentence("en"), wer),
    TextSlice("sentences, CER", "synthetic, Mandarin", synthetic_sentence("zh"), cer),
    TextSlice("sentences, WER", "speechocean762", of_source("speechocean762"), wer),
)


# Counting


def slice_figures(
    test: Sequence[Utterance], train: Sequence[Utterance], predictors: Predictors, answers: Answered
) -> list[Row]:
    """A row for each slice that has clips."""
    found = [_label_row(part, test, train, predictors) for part in LABELS]
    found += [_text_row(part, test, answers) for part in TEXTS]
    return [row for row in (*found, _time_row(test, answers), *_reply_rows(test, train, answers)) if row]


def _row(title: str, data: str, rows: Sequence[Utterance], scores: Mapping[str, Score], **more: Any) -> Row:
    told = {name: score_row(score) for name, score in scores.items()}
    return {"title": title, "data": data, "count": len(rows), **speakers(rows), **more, "scores": told}


def _label_row(
    part: LabelSlice, test: Sequence[Utterance], train: Sequence[Utterance], predictors: Predictors
) -> Row | None:
    rows = [row for row in test if part.holds(row) and part.truth(row) is not None]
    if not rows:
        return None
    truth = [part.truth(row) or "" for row in rows]
    known = part.trained or part.holds
    learned = [row for row in train if known(row) and part.truth(row) is not None]
    often = Counter(part.truth(row) for row in learned).most_common(1)
    common = often[0][0] if often else None
    by_source = commonest(part.truth, learned)
    named: dict[str, list[str | None]] = {
        MAJORITY: [common] * len(rows),
        SOURCE: [source_guess(by_source, row) or common for row in rows],
    }
    for name, questions in predictors.items():
        if name != SOURCE and (labels := questions.get(part.question.name)):
            named[name] = [part.merge(labels.get(row.id)) for row in rows]
    scores = {name: part.metric(truth, labels, resampling(rows)) for name, labels in named.items()}
    return _row(part.title, part.data, rows, scores, lower=part.metric is not accuracy)


def _text_row(part: TextSlice, test: Sequence[Utterance], answers: Answered) -> Row | None:
    rows = [row for row in test if row.text and part.holds(row)]
    if not rows:
        return None
    heard = [text_of(answers[row.id]) for row in rows]
    return _row(
        part.title, part.data, rows, {NANO: part.metric([row.text or "" for row in rows], heard, resampling(rows))}
    )


def _time_row(test: Sequence[Utterance], answers: Answered) -> Row | None:
    rows = [row for row in test if row.words and is_plain_synthetic(row)]
    if not rows:
        return None
    score = aas([row.words for row in rows], [words_of(answers[row.id]) for row in rows], resampling(rows))
    return _row("word times, AAS in ms", "synthetic", rows, {NANO: score}, milliseconds=True)


def _reply_rows(test: Sequence[Utterance], train: Sequence[Utterance], answers: Answered) -> list[Row]:
    """Whether there is a reply, whether it is the reference, and how far it is from it."""
    rows = [row for row in test if has_reply(row) and reply_of(answers[row.id]) is not None]
    if not rows:
        return []
    drawn = resampling(rows)
    references = [normalize(row.reply or "") for row in rows]
    replies = [normalize(reply_of(answers[row.id]) or "") for row in rows]
    usual = Counter(normalize(row.reply) for row in train if row.reply).most_common(1)[0][0]
    always = [usual] * len(rows)
    there = accuracy(["there"] * len(rows), ["there" if reply else None for reply in replies], drawn)
    exact = {MAJORITY: accuracy(references, always, drawn), NANO: accuracy(references, replies, drawn)}
    distance = {MAJORITY: mer(references, always, drawn), NANO: mer(references, replies, drawn)}
    return [
        _row(f"reply ({REPLY}): {what}", "synthetic questions of the toy dialogues", rows, scores)
        for what, scores in (("given", {NANO: there}), ("exactly the reference", exact), ("MER", distance))
    ]


# Showing

HEAD = ["what", "test data", "n", "majority", "source only", "classical", "nano [95 % CI]"]


def slice_table(figures: Sequence[Mapping[str, Any]]) -> str:
    """Markdown; percent unless noted."""
    return table(HEAD, [_line(figure) for figure in figures])


def _line(figure: Mapping[str, Any]) -> list[str]:
    scores = figure["scores"]
    simple = [percent(scores.get(name)) for name in (MAJORITY, SOURCE)]
    rivals = [score for name, score in scores.items() if name.startswith(CLASSICAL)]
    harder = min if figure.get("lower") else max
    best = harder(rivals, key=lambda score: score["value"], default=None)
    own = interval(scores.get(NANO), 1 if figure.get("milliseconds") else 100)
    coverage = scores.get(NANO, {}).get("coverage")
    own += f", of {100 * coverage:.1f} % of the words" if coverage is not None else ""
    return [figure["title"], figure["data"], str(figure["count"]), *simple, interval(best), own]

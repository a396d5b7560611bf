"""How far the votes of a finished run agree, and how often what they agree on is right. Reads what the run stored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from osum.corpus.readers import Manifest
from osum.corpus.transcript import transcript
from osum.errors import InputError
from osum.pipeline.folder import RunFolder
from osum.pipeline.page import step_options
from osum.pipeline.row import Row, Vote
from osum.pipeline.run import read_summary, units_of
from osum.pipeline.voting import alike, kappa, rover, thresholds


def agreement(out: Path, field: str, truth: Path | None = None) -> Iterator[str]:
    """Lines of a Markdown table for each pair of voters and, with a truth, for each threshold of agreement.

    Args:
        out: the run's folder.
        field: `text`, `language`, or a label set.
        truth: a manifest with rows of the same ids.

    Raises:
        InputError: no row of the run has votes on the field.
    """
    voted = list(_voted(out, field))
    if not voted:
        raise InputError(f"{out} has no votes on {field!r}: name a field that a step ask or ask_text votes on")
    yield f"| voters on {field} | rows | {'likeness' if field == 'text' else 'agree'} | kappa |"
    yield "|---|---:|---:|---:|"
    yield from _pairs(voted, field)
    if truth is not None:
        known = {line.utterance.id: line.utterance for line in Manifest(truth) if line.utterance}
        judged = [
            (score, _is_right(field, value, right))
            for name, votes in voted
            if name in known and (right := Row(known[name]).value(field)) is not None
            for value, score in [_agreed(field, votes)]
        ]
        yield ""
        yield f"| agreement from | kept of {len(judged)} | precision |"
        yield "|---:|---:|---:|"
        for found in thresholds(judged):
            yield f"| {found.agreement:.2f} | {found.rows} ({100 * found.kept:.0f} %) | {100 * found.precision:.1f} % |"


def _voted(out: Path, field: str) -> Iterator[tuple[str, list[Vote]]]:
    """Id and votes of every row that came into the first step `vote` on the field, or of the last step without one."""
    folder, summary = RunFolder(out), read_summary(out)
    named = [step_options(step) for step in summary.plan["steps"]]
    ends = [at for at, (name, told) in enumerate(named) if name == "vote" and told.get("of", "text") == field]
    before, _ = summary.steps[ends[0] if ends else -1]  # the input is the first of these
    for unit in units_of(folder, before):
        for row in folder.rows(unit):
            if votes := [vote for vote in row.votes(field) if vote.value is not None]:
                yield row.id, votes


def _pairs(voted: list[tuple[str, list[Vote]]], field: str) -> Iterator[str]:
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    for name, votes in voted:
        for vote in votes:
            answers[vote.by][name] = str(vote.value)
    for one, other in combinations(answers, 2):
        both = [name for name in answers[one] if name in answers[other]]
        pairs = [(answers[one][name], answers[other][name]) for name in both]
        if not pairs:
            continue
        if field == "text":
            mean = sum(alike(a, b) for a, b in pairs) / len(pairs)
            yield f"| {one}, {other} | {len(pairs)} | {100 * mean:.1f} % | |"
        else:
            equal = sum(a == b for a, b in pairs) / len(pairs)
            ours, theirs = map(list, zip(*pairs, strict=True))
            yield f"| {one}, {other} | {len(pairs)} | {100 * equal:.1f} % | {kappa(ours, theirs):.2f} |"


def _agreed(field: str, votes: list[Vote]) -> tuple[str, float]:
    if field == "text":
        return rover([str(vote.value) for vote in votes])
    (value, count), *_ = Counter(str(vote.value) for vote in votes).most_common()
    if len(votes) == 1 and votes[0].score is not None:
        return value, votes[0].score
    return value, count / len(votes)


def _is_right(field: str, value: str, truth: str) -> bool:
    return transcript(value) == transcript(truth) if field == "text" else value == truth

"""docs/benchmarks.md, made from the catalogue: `python -m docs.generate.benchmarks > docs/benchmarks.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.catalogue import BENCHMARKS, SUITES
from osum.evaluation.sets.own_sets import OWN_SETS
from osum.evaluation.sets.public_sets import PUBLIC_SETS
from osum.evaluation.sets.published import ABSENT, PUBLISHED
from osum.text import markdown_table

_PAGE = """\
# Benchmarks

Made by `python -m docs.generate.benchmarks > docs/benchmarks.md`; change `src/osum/evaluation/`, not this page.

`osum evaluate --data DATA --benchmark NAME,NAME -o OUT` reads each benchmark from its folder under `DATA`, as its
publisher packs it. A file that is missing, or a list that is not as long as published, ends the run with one line that
says which and where. osum fetches nothing: get the archives from their homes, under their licences.

A metric is counted after its normaliser, and both are named next to every figure. `mer` counts Chinese by character and
other words whole, as the papers of OSUM do.

## Public sets

{public}

## Our own sets

{own}

## Suites

{suites}

## Folders

Where no source is cited, the layout is not public, so the folder holds a list of ours, one JSON object per line:
`{{"id": "1", "path": "a.wav", "text": "..."}}`, or with `"labels": {{"emotion": "happy"}}`. Paths are
seen from the list.

{folders}

## Labels

A clip whose label stands in no row has no truth: it is not asked about, and is counted.

{labels}

## Notes

{notes}

## Published figures

`src/osum/evaluation/sets/published.yaml` holds {count} figures of {models} models, as they are printed, from these
sources. They stand next to measured ones in reports, and are marked.

{sources}

Some of them are about sets that are no benchmark here:

{absent}
"""


def markdown() -> str:
    """The page."""
    return _PAGE.format(
        public=_sets(PUBLIC_SETS),
        own=_sets(OWN_SETS),
        suites=markdown_table(("suite", "benchmarks"), _suites()),
        folders=markdown_table(("folder", "benchmarks", "holds", "source"), _folders()),
        labels=markdown_table(("benchmark", "its labels to ours"), _labels()),
        notes=markdown_table(("benchmark", "note"), _notes()),
        count=len(PUBLISHED),
        models=len({one.model for one in PUBLISHED}),
        sources="\n".join(f"- {source}" for source in dict.fromkeys(one.source for one in PUBLISHED)),
        absent="\n".join(f"- `{name}`: {why}" for name, why in ABSENT.items()),
    )


_NUMBERED = re.compile(r"(.*-)\d+$")


def _short(names: Iterable[str]) -> list[str]:
    """Names in a row that differ in their number alone become one, `speechio-00 to speechio-26`."""
    runs = (list(run) for _, run in groupby(names, lambda name: _NUMBERED.sub(r"\1", name)))
    return [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]


def _sets(benchmarks: Sequence[Benchmark]) -> str:
    rows = (
        (
            name,
            first.title,
            first.task,
            first.metric,
            first.normaliser if first.target != "label" and first.metric != "judge" else "–",
            str(first.count or "–"),
            first.licence,
            f"[home]({first.home})" if first.home.startswith("http") else first.home,
        )
        for name, first in _merged(benchmarks)
    )
    return markdown_table(("benchmark", "test set", "task", "metric", "normaliser", "clips", "licence", "home"), rows)


def _merged(benchmarks: Iterable[Benchmark]) -> Iterator[tuple[str, Benchmark]]:
    known = {benchmark.name: benchmark for benchmark in benchmarks}
    return ((name, known[name.split(" to ")[0]]) for name in _short(known))


def _folders() -> Iterator[tuple[str, ...]]:
    for folder, group in groupby(sorted(BENCHMARKS.values(), key=_folder), _folder):
        by_layout: dict[tuple[str, str], list[str]] = {}
        for benchmark in group:
            by_layout.setdefault((benchmark.layout, benchmark.layout_source), []).append(benchmark.name)
        for (layout, source), names in by_layout.items():
            yield f"`{folder}`", ", ".join(_short(names)), layout, source or "–"


def _folder(benchmark: Benchmark) -> str:
    return benchmark.folder or benchmark.name


def _labels() -> Iterator[tuple[str, str]]:
    for benchmark in BENCHMARKS.values():
        by_ours: dict[str, list[str]] = {}
        for theirs, ours in benchmark.labels.items():
            by_ours.setdefault(ours, []).append(theirs)
        if any(theirs != [ours] for ours, theirs in by_ours.items()):
            shown = (f"{ours}: {_few(theirs)}" if theirs != [ours] else ours for ours, theirs in by_ours.items())
            yield benchmark.name, "; ".join(shown) if len(by_ours) < _MANY else "as they are, without `_`"


_MANY = 20  # labels, and more are not listed


def _few(theirs: Sequence[str]) -> str:
    return f"the {len(theirs)} others" if len(theirs) > _MANY else ", ".join(theirs)


def _suites() -> Iterator[tuple[str, str]]:
    return ((name, ", ".join(_short(names))) for name, names in SUITES.items())


def _notes() -> Iterator[tuple[str, str]]:
    by_note: dict[str, list[str]] = {}
    for benchmark in BENCHMARKS.values():
        if benchmark.note:
            by_note.setdefault(benchmark.note, []).append(benchmark.name)
    return ((", ".join(_short(names)), note) for note, names in by_note.items())


if __name__ == "__main__":
    sys.stdout.write(markdown())

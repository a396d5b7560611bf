"""Results in a repository: a small file of figures, and a block of a README that is made from it.

    <!-- results: kit-* -->  ...  <!-- /results -->
    <!-- results-table: kit-* -->  ...  <!-- /results-table -->

The marker names the test sets that the block shows; without names it shows all. The second form is the table alone, for
a page in any language.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from osum.errors import InputError
from osum.evaluation.report.markup import joined, markdown
from osum.evaluation.report.tables import SIGNIFICANT, Compared, all_tables, overview, verdict
from osum.evaluation.score.result import BenchmarkResult, Comparison, Report, write_report
from osum.files import atomic_file

BLOCK, TABLE = "results", "results-table"
WIDTH = 118  # columns of running text
_KEPT = ("task", "normaliser", "seed", "list_hash", "listed", "limit", "model", "versions")


def replace_block(text: str, name: str, body: Callable[[str], str]) -> str:
    """Put what `body` makes of the marker's words between `<!-- NAME: WORDS -->` and `<!-- /NAME -->` of a page.

    Raises:
        InputError: the page has no such markers.
    """
    found = re.search(rf"<!-- {re.escape(name)}(?:: (.*?))? -->(.*?)<!-- /{re.escape(name)} -->", text, re.DOTALL)
    if not found:
        raise InputError(f"the page has no <!-- {name} --> ... <!-- /{name} -->: put both where the block belongs")
    return f"{text[: found.start(2)]}\n{body(found[1] or '')}\n{text[found.end(2) :]}"


def results_block(found: Compared, names: str = "", compared: bool = True) -> str:
    """The table of test sets by name or pattern, `kit-*, espeak-en`, and, where wanted, how the models compare on them.

    Raises:
        InputError: no test set has such a name.
    """
    patterns = names.replace(",", " ").split() or ["*"]
    chosen = [name for name in found.names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if not chosen:
        raise InputError(f"no results of {names!r}: the test sets are {', '.join(found.names)}")
    shown = replace(
        found,
        results=[result for result in found.results if result.benchmark in chosen],
        comparisons=[one for one in found.comparisons if one.benchmark in chosen],
    )
    return "\n\n".join([markdown(overview(shown)), *(_sentence(shown) if compared else [])])


def _sentence(found: Compared) -> list[str]:
    """On how many test sets the model with the most results is better than each other one, as pairs were tested."""
    own = max(found.models, key=lambda model: sum(result.model == model for result in found.results))
    compared = [_against(found.comparisons, own, other) for other in found.models if other != own]
    if not any(compared):
        return []
    sentence = f"Paired bootstrap, p < {SIGNIFICANT:g}: {own} is {'; '.join(filter(None, compared))}."
    return [textwrap.fill(sentence, WIDTH)]


def _against(comparisons: Sequence[Comparison], own: str, other: str) -> str:
    pairs = [one for one in comparisons if {one.first, one.second} == {own, other}]
    counts = Counter(map(verdict, pairs))
    worse = f", worse on {counts[other]}" if counts[other] else ""
    return f"better than {other} on {counts[own]} of {len(pairs)} test sets{worse}" if pairs else ""


def with_results(page: str, found: Compared) -> str:
    """The page with its block of results, of either form, written again.

    Raises:
        InputError: the page has no markers.
    """
    compared = f"<!-- /{TABLE} -->" not in page
    return replace_block(page, BLOCK if compared else TABLE, lambda names: results_block(found, names, compared))


def update_readme(path: Path, found: Compared) -> None:
    """Write the block of results again.

    Raises:
        InputError: the page has no markers.
        OSError: it cannot be read or written.
    """
    text = with_results(path.read_text(encoding="utf-8"), found)
    with atomic_file(path) as out:
        out.write(text.encode())


def keep(path: Path, found: Compared) -> None:
    """Write what a repository keeps of results: what tables show as JSON, and the tables as Markdown next to it.

    Raises:
        InputError: the name does not end in .json.
        OSError: a file cannot be written.
    """
    if path.suffix != ".json":
        raise InputError(f"{path} is to hold JSON: give a name that ends in .json")
    write_report(path, Report(tuple(map(_small, found.results)), tuple(found.comparisons)))
    with atomic_file(path.with_suffix(".md")) as out:
        out.write(report_page(found).encode())


def report_page(found: Compared) -> str:
    """All tables as one Markdown page."""
    return f"# Results\n\n{joined(all_tables(found))}"


def _small(result: BenchmarkResult) -> BenchmarkResult:
    """Without curves, lists of clips, and prompts."""
    sure = result.calibration
    run: Mapping[str, Any] = {name: result.run[name] for name in _KEPT if name in result.run}
    return replace(result, calibration=sure and replace(sure, bins=(), risk_coverage=()), run=run)

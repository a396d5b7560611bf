"""Yield and agreement of the plans in pipelines/ on the validation split of nano's data.

    python benchmarks/pipeline_yields.py DATA OUT --plan asr --whisper FOLDER --language-model FOLDER

DATA is what `recipes.nano.build` wrote. No row here taught nano, and the test split is not looked at. What a run has
asked is kept in OUT, so a stopped measurement continues.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from osum.corpus.manifest import read_manifest, unit_hash, write_manifest
from osum.corpus.readers import Line, Manifest
from osum.pipeline.agreement import agreement
from osum.pipeline.plan import plan_of
from osum.pipeline.run import Summary, run
from osum.utterance import Utterance

PLANS = Path(__file__).parents[1] / "pipelines"
ENGLISH = ("commonvoice-en", "librispeech-train5", "speechocean762")
PEOPLE = (*ENGLISH, "commonvoice-zh", "aishell3-ssb0139", "emodb", "librispeech")
EVENTS = ("covid19-cough", "emogator", "esc10", "donateacry", "scratch14-human")
Steps = list[Any]


def chosen(rows: Iterable[Utterance], count: int, keep: Callable[[Utterance], Any]) -> list[Utterance]:
    """So many of the rows that fit, by a hash of their names."""
    return sorted((row for row in rows if keep(row)), key=lambda row: unit_hash(row.id))[:count]


def asr(given: argparse.Namespace, steps: Steps, rows: list[Utterance]) -> tuple[list[Utterance], list[Utterance], str]:
    """English clips without their texts, three recognisers."""
    if given.whisper:
        steps.insert(4, {"ask": {"model": f"whisper:{given.whisper}", "task": "ASR", "name": "whisper"}})
    truth = chosen(rows, given.rows, lambda row: row.source in ENGLISH and row.text and (row.duration or 9) < 6)
    return [row.with_(text=None, words=()) for row in truth], truth, "text"


def srwt(
    given: argparse.Namespace, steps: Steps, rows: list[Utterance]
) -> tuple[list[Utterance], list[Utterance], str]:
    """English clips with known word times: those of espeak-ng are true, the others PocketSphinx's own."""
    steps[-1]["align"]["near"] = 10.0
    sources = (given.source,) if given.source else ("commonvoice-en", "librispeech-train5", "espeak")
    truth = chosen(
        rows,
        given.rows,
        lambda row: row.source in sources and row.words and row.language == "en" and (row.duration or 9) < 8,
    )
    return [row.with_(words=()) for row in truth], truth, "words"


def ved(given: argparse.Namespace, steps: Steps, rows: list[Utterance]) -> tuple[list[Utterance], list[Utterance], str]:
    """Speech without an event; then nano says which event it hears in what the plan made."""
    events = chosen(rows, 10_000, lambda row: row.source in EVENTS and row.labels.get("event", "none") != "none")
    write_manifest(given.out / "events.jsonl", events)
    steps[1]["insert_events"]["events"] = str(given.out / "events.jsonl")
    steps += [{"ask": {"model": "nano", "task": "VED"}}]
    speech = chosen(
        rows,
        given.rows,
        lambda row: row.text and row.labels.get("event", "none") == "none" and row.extra.get("evidence") == "real",
    )
    return speech, [], "event"


def ser(given: argparse.Namespace, steps: Steps, rows: list[Utterance]) -> tuple[list[Utterance], list[Utterance], str]:
    """Acted German sentences, whose texts are those of --texts; the sound's vote is nano's."""
    endpoint(given, steps)
    texts = {
        line.utterance.id.rpartition("/")[2]: line.utterance.text for line in Manifest(given.texts) if line.utterance
    }
    real = chosen(rows, given.rows, lambda row: row.source == "emodb" and "emotion" in row.labels)
    truth = [row.with_(text=texts.get(row.id.rpartition("/")[2])) for row in real]
    return [row.with_(labels={}) for row in truth], truth, "emotion"


def ssr(given: argparse.Namespace, steps: Steps, rows: list[Utterance]) -> tuple[list[Utterance], list[Utterance], str]:
    """Read sentences; the two votes are of one model by an English and by a Mandarin prompt."""
    endpoint(given, steps)
    for step, language in zip(steps[1:3], ("en", "zh"), strict=True):
        step["ask_text"] |= {"language": language, "name": f"prompt-{language}"}
    return chosen(rows, given.rows, lambda row: row.text and (row.source or "").startswith("commonvoice-")), [], "style"


def people(field: str, task: str) -> Any:
    """Rows of all sources: those of people stay; nano's opinion of what stays is held against theirs."""

    def prepared(given: argparse.Namespace, steps: Steps, rows: list[Utterance]) -> Any:
        steps[1]["trusted"]["sources"] = list(PEOPLE)
        steps.append({"ask": {"model": "nano", "task": task}})
        truth = chosen(rows, given.rows, lambda row: row.text is not None or field in row.labels)
        noisy = [row.with_(id=f"{row.id}-noisy0") for row in truth]
        return truth, truth + noisy, field

    return prepared


def endpoint(given: argparse.Namespace, steps: Steps) -> None:
    """One small model in place of the endpoints."""
    for step in steps:
        if isinstance(step, dict) and "ask_text" in step:
            model = {"model": given.language_model, "dtype": given.dtype, "max_tokens": 32, "batch_size": 32}
            step["ask_text"]["endpoint"] = model


KINDS: dict[str, Any] = {
    "asr": asr, "srwt": srwt, "ved": ved, "ser": ser, "ssr": ssr,
    "sgc": people("gender", "SGC"), "sap": people("age", "SAP"),
}  # fmt: skip


def measure(given: argparse.Namespace) -> Summary:
    found = yaml.safe_load((PLANS / f"{given.plan}.yaml").read_text("utf-8"))
    rows = [row for row in read_manifest(given.data / "valid.jsonl") if (row.duration or 0) > 0.3]
    rows, truth, field = KINDS[given.plan](given, found["steps"], rows)
    out = given.out / "-".join(filter(None, (given.plan, given.source)))
    summary = run(plan_of(found), [Line(row.id, row) for row in rows], out)
    print(f"\n{given.plan}: {len(rows)} rows in, {summary.kept.rows_out} out")
    for name, tally in summary.steps:
        for reason, count in tally.dropped.items():
            print(f"  {name}: {count} of {tally.rows_in}: {reason}")
    if truth:
        write_manifest(out / "truth.jsonl", truth)
    elif field == "event":  # the truth is what the plan itself put in
        made = [
            line for path in sorted((out / "corpus").glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()
        ]
        write_manifest(out / "truth.jsonl", [Utterance.from_dict({**json.loads(line), "path": "/x"}) for line in made])
    known = out / "truth.jsonl"
    print("\n".join(agreement(out, field, known if known.exists() else None)), flush=True)
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plan", required=True, choices=KINDS)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--source", default="", help="srwt: of this source alone")
    parser.add_argument("--texts", type=Path, help="ser: manifest of EmoDB's texts")
    parser.add_argument("--whisper", default="", help="asr: folder of a third recogniser")
    parser.add_argument("--language-model", default="", help="ser, ssr: folder")
    parser.add_argument("--dtype", default="", help="ser, ssr: of the language model")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    measure(given)


if __name__ == "__main__":
    sys.exit(main())

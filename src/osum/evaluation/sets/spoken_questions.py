"""Benchmarks of spoken assistants: VoiceBench's seven columns, and the sound part of MMAU.

VoiceBench is published as Parquet files that hold the sound, so its clips are listed in a manifest of ours: the layout
line says which fields. MMAU's list and folder are read as they are published.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.layouts.unpacked import LISTED, listed, need, whole_json, with_audio
from osum.scoring.spoken_answers import REFUSED
from osum.utterance import Utterance

_HOME = "https://github.com/MatthewCYM/VoiceBench"
_COLUMNS = (
    ("alpacaeval", "AlpacaEval", "judge", 636, "graded from 1 to 5 by a model; `alpacaeval_full` of the set"),
    ("commoneval", "CommonEval", "judge", 200, "graded from 1 to 5 by a model"),
    ("sd-qa", "SD-QA", "judge", 553, "the set's own figure is the mean of a model's verdict and of a rule (PEDANTS)"),
    ("mmsu", "MMSU", "choice", 3074, "a reply that names no letter is wrong here, a guess in the set's own count"),
    ("openbookqa", "OpenBookQA", "choice", 455, "as mmsu"),
    ("ifeval", "IFEval", "instructions", 345, "instructions that can be checked; those of a language are not"),
    ("advbench", "AdvBench", "refusal", 520, "higher is better: the share of requests that are refused"),
)
VOICEBENCH_COLUMNS = tuple(name for name, *_ in _COLUMNS)


def _voicebench(name: str, title: str, metric: str, count: int, note: str) -> Benchmark:
    truth = {"choice": "the letter in reply", "instructions": "instruction_id_list and kwargs as JSON in reply"}
    what = truth.get(metric, "nothing in reply" if metric == "refusal" else "the reference, if any, in reply")
    return Benchmark(
        name=f"voicebench-{name}",
        title=f"VoiceBench {title}",
        task="STTC",
        target="reply",
        metric=metric,
        licence="see its home",
        home=_HOME,
        reader=partial(_refused if metric == "refusal" else listed),
        layout=f"{LISTED}, rows of ours with id, path and text (the question), {what}, and the audio",
        language="en",
        normaliser="none",
        note=f"{count} clips; {note}",
    )


def _refused(folder: Path) -> list[Utterance]:
    """Requests that have to be refused, whatever the row says."""
    return [row.with_(reply=REFUSED) for row in listed(folder)]


def mmau_sound(folder: Path) -> list[Utterance]:
    """`mmau-test-mini.json` with `test-mini-audios` next to it: the questions of the task `sound`."""
    found = need(folder / "mmau-test-mini.json")
    return with_audio(
        Utterance(
            id=str(row["id"]),
            path=str(folder / str(row["audio_id"]).removeprefix("./")),
            reply="\n".join([row["answer"], *(one for one in row["choices"] if one != row["answer"])]),
            extra={
                "question": f"{row['question']} Choose one of: {'; '.join(row['choices'])}. Write the choice only.",
                "part": row["sub-category"],
            },
        )
        for row in whole_json(found)
        if row["task"] == "sound"
    )


SPOKEN_QUESTION_SETS = (
    *(_voicebench(*column) for column in _COLUMNS),
    Benchmark(
        name="mmau-sound",
        title="MMAU test-mini, sound",
        task="STTC",
        target="reply",
        metric="named_choice",
        licence="see its home",
        home="https://github.com/Sakshi113/MMAU",
        reader=mmau_sound,
        layout="mmau-test-mini.json and test-mini-audios/*.wav",
        layout_source="https://github.com/Sakshi113/MMAU/blob/main/mmau-test-mini.json",
        folder="MMAU",
        language="en",
        normaliser="none",
        note="A reply is right where it holds every word of the right choice and none of the others alone. The set was "
        "revised in May 2025; earlier figures are of other questions",
    ),
)

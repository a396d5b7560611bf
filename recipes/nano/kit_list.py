"""The list of the kit: where each recording is stored in a public repository, and all that is known of it.

`kit.jsonl.gz` is the list. It is made from a kit by

    python -m recipes.nano.kit_list --kit DIR --out recipes/nano/kit.jsonl.gz

The paths follow from the kit's ids by the published layout of each repository; the rules stand here and nowhere
else. Knows nothing of downloads.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from osum import audio
from osum.audio import SAMPLE_RATE
from osum.corpus.packed import Float32
from osum.errors import InputError
from osum.files import atomic_file
from recipes.nano.recordings import read_rows

LIST = Path(__file__).parent / "kit.jsonl.gz"
NUM_PARTS = 16  # of a clip, each of the same length
STEP = 3.0  # dB of one level
NUM_LEVELS = 16  # four bits; the lowest is all that is 45 dB or more below the loudest part
MAX_DIFFERENCE = 0.75  # levels, mean over the parts; docs/data.md has what was measured
MAX_SECONDS_OFF = 0.03  # decoders of mp3 may keep or drop a frame of 26 ms

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KitClip:
    """One recording."""

    id: str
    """Its name in the kit, with the source in front."""
    path: str
    """The file inside the repository; `*` stands for what the kit's id does not keep."""
    seconds: float
    levels: str
    """`fingerprint` of the kit's own copy."""
    fields: Row
    """Labels, text and whatever else the kit's manifest has."""
    end: float | None = None
    """The kit holds the file up to this second; all of it without."""


@dataclass(frozen=True, slots=True)
class KitSource:
    """A repository at one commit, and the recordings taken from it."""

    name: str
    """Several parts of one name are from several repositories."""
    repo: str
    commit: str
    clips: tuple[KitClip, ...] = ()
    kit: str = "real"
    """Folder of the kit: `real` or `real2`."""


@dataclass(frozen=True, slots=True)
class ByHand:
    """A part of the kit whose origin is known but not file by file."""

    name: str
    """Folder of the kit."""
    missing: str
    where: str


@dataclass(frozen=True, slots=True)
class KitList:
    """Everything that the kit is made of."""

    sources: tuple[KitSource, ...]
    samples: tuple[Row, ...]
    """`id` and `origin` of each sample clip: what must not be trained on."""
    by_hand: tuple[ByHand, ...]
    files: Mapping[str, Any] = field(default_factory=dict)
    """JSON files that come with the list: path inside the kit to content."""

    def only(self, names: Collection[str] | None) -> KitList:
        """The list of these sources, or of all.

        Raises:
            InputError: there is no such source.
        """
        known = list(dict.fromkeys(source.name for source in self.sources))
        if unknown := sorted(set(names or ()) - set(known)):
            raise InputError(f"source {unknown[0]!r} cannot be fetched: name one of {', '.join(known)}")
        return replace(self, sources=tuple(source for source in self.sources if not names or source.name in names))


# Fingerprint


def fingerprint(samples: Float32) -> str:
    """The course of a clip's loudness, coarse enough to survive a codec: one hexadecimal digit for each part.

    1. The waveform (S,) is cut into `NUM_PARTS` parts of the same length.
    2. The power of each is taken in dB below the loudest part.
    3. It is rounded to steps of `STEP` dB; F is the loudest, 0 is 45 dB or more below.
    """
    parts = np.array_split(samples.astype(np.float64), NUM_PARTS)
    power = np.array([np.mean(part**2) if part.size else 0.0 for part in parts])
    decibel = 10 * np.log10(np.maximum(power, 1e-10) / max(power.max(), 1e-10))
    levels = np.clip(np.round(decibel / STEP) + NUM_LEVELS - 1, 0, NUM_LEVELS - 1)
    return "".join(f"{int(level):x}" for level in levels)


def unlike(clip: KitClip, samples: Float32) -> str | None:
    """What shows that `samples` (S,) are not the recording that the kit holds; None if nothing does."""
    seconds = samples.size / SAMPLE_RATE
    if abs(seconds - clip.seconds) > MAX_SECONDS_OFF:
        return f"lasts {seconds:.3f} s, the kit's clip {clip.seconds:.3f} s"
    pairs = zip(fingerprint(samples), clip.levels, strict=True)
    difference = sum(abs(int(ours, 16) - int(theirs, 16)) for ours, theirs in pairs) / NUM_PARTS
    if difference > MAX_DIFFERENCE:
        return f"its loudness runs {difference * STEP:.1f} dB off it, at most {MAX_DIFFERENCE * STEP:g} are let pass"
    return None


# Layouts

_ESC10 = """
dog bark, rain, sea waves, baby cry, clock tick, person sneeze, helicopter, chainsaw, rooster, fire crackling
""".strip().split(", ")
"""Its classes in the order of their numbers."""
_CRY_AGES = {"0-4 weeks": "04", "4-8 weeks": "48", "2-6 months": "26", "7 months - 2 years": "72", "over 2 years": "22"}


def _esc10(name: str, row: Row) -> str:
    """As the repository's README of that commit lists them."""
    return f"{_ESC10.index(row['sound']) + 1:03d} - {row['sound'].capitalize()}/{name}.ogg"


def _donateacry(name: str, row: Row) -> str:
    """Files are PHONE-MILLISECONDS-VERSION-SEX-AGE-REASON.wav; the id keeps the last seven digits of the time."""
    tags = f"{row['gender'][0]}-{_CRY_AGES[row['age_band']]}"
    return f"donateacry_corpus_cleaned_and_updated_data/*{name.rsplit('_', 1)[1]}-*-{tags}-*.wav"


def _librispeech(name: str, row: Row) -> str:
    folder = f"librispeech_{row['subset']}" + (f"/{row['speaker'][2:]}" if row["subset"] == "test-other" else "")
    return f"audio_data/{folder}/{name}.flac"


def _picovoice(name: str, row: Row) -> str:
    """Keywords are folders; ids keep the first eight digits of a file's random name, or its number."""
    tail = name.rsplit("_", 1)[1]
    return f"audio/{row['text']}/{tail}.*" if tail.isdecimal() and len(tail) < 8 else f"audio/{row['text']}/{tail}-*"


def _common_voice(name: str, row: Row) -> str:
    """The early Mandarin and 6.1 by language; each of the English deltas has a folder of its own."""
    version, _, language = f"{row['subset']} {row['language']}".partition(" ")
    if version in ("6.1", "early"):
        return f"{language.split()[0]}/clips/{name}.mp3"
    return f"*{name}.mp3"


LAYOUTS: Mapping[str, Callable[[str, Row], str]] = {
    "aishell1": lambda name, _: f"AISHELL_Sample_data/{name}.wav",
    "aishell3": lambda name, _: f"data/samples/aishell3/wav/{name}.wav",
    "audio-cmn-words": lambda _, row: f"96k/hsk/cmn-{row['text']}.mp3",
    "donateacry": _donateacry,
    "emogator": lambda name, _: f"data/mp3/{name}.mp3",
    "esc10": _esc10,
    "fsdd": lambda name, _: f"recordings/{name}.wav",
    "librispeech": _librispeech,
    "ljspeech": lambda name, _: f"tests/data/ljspeech/wavs/{name}.wav",
    "picovoice-keywords": _picovoice,
    "speechocean762": lambda name, row: f"WAVE/SPEAKER{row['speaker'][2:]}/{name[3:]}.WAV",
    "aishell3-ssb0139": lambda name, _: f"*{name}.wav",
    "commonvoice-en": _common_voice,
    "commonvoice-other-age": _common_voice,
    "commonvoice-zh": _common_voice,
    "covid19-cough": lambda name, _: f"raw/{name}.mp3",
    "emodb": lambda name, _: f"*{name}.wav",
    "librispeech-train5": lambda name, _: f"*/{name}.flac",
    "scratch14-human": lambda name, _: f"*/{name}.*",
    "speech-commands": lambda name, row: f"*{row['text']}/{name.partition('_')[2]}.wav",
}
"""Path inside the repository from a clip's id and row; a source that is not here cannot be fetched."""
_COMMON_VOICE = {
    "6.1": "omnilingo/rsample-100-cv-corpus-6.1-2020-12-11",
    "early": "leeqingming-BOL/mychinesemultipa",
    "delta-13-or-so": "korliu/whisper",
    "18.0-delta-2024-06-14": "shubhra-cv/18",
    "19.0-delta-2024-09-13": "shubhra-cv/19",
    "20.0-delta-2024-12-06": "shubhra-cv/17",
}
"""Version of Common Voice to the repository that holds it."""

CUT = 10.0
"""Seconds at which the kit cut the LibriSpeech clips that it has no text for."""

BY_HAND = (
    ByHand(
        "real/dspspeech20",
        "the kit renamed its speakers and gives no file names",
        "github.com/zhongyuchen/DSPSpeech-20 at 8165959",
    ),
    ByHand(
        "real2/long-en",
        "its recordings are consecutive utterances of LibriSpeech and LJ Speech joined",
        "github.com/zhangrui0712/Voice-Age at c13f844 and github.com/PhilippMatthes/dc_tts at 5f20e75",
    ),
)
"""Parts of the kit that cannot be fetched."""
FILES = ("real2/aishell3_labels_of_first_kit.json",)
"""Files of the kit without sound."""


# Reading and making the list


def read_list(path: Path | None = None) -> KitList:
    """The list in this folder, or another one.

    Raises:
        InputError: `path` is no list.
    """
    content = (path or LIST).read_bytes()
    try:
        rows = [json.loads(line) for line in gzip.decompress(content).decode("utf-8").splitlines()]
        return _parsed(rows)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as fault:
        raise InputError(f"{path or LIST} is no list of a kit ({fault}): take the one of the repository") from fault


def _parsed(rows: list[Row]) -> KitList:
    sources, clips = list[Row](), list[list[KitClip]]()
    for row in rows:
        if row["kind"] == "source":
            sources.append(row)
            clips.append([])
        elif row["kind"] == "clip":
            own = {name: row[name] for name in ("id", "path", "seconds", "levels")}
            clips[-1].append(KitClip(**own, fields=sources[-1]["common"] | row["fields"], end=row.get("end")))
    return KitList(
        tuple(
            KitSource(row["name"], row["repo"], row["commit"], tuple(of), row.get("kit", "real"))
            for row, of in zip(sources, clips, strict=True)
        ),
        tuple({"id": row["id"], "origin": row["origin"]} for row in rows if row["kind"] == "sample"),
        tuple(ByHand(row["name"], row["missing"], row["where"]) for row in rows if row["kind"] == "by_hand"),
        {row["path"]: row["content"] for row in rows if row["kind"] == "file"},
    )


def write_list(path: Path, kit: Path) -> None:
    """Make the list from a kit: a folder with `real/`, perhaps `real2/` (each with `sources.json`), and `smoke/`."""
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in _rows(kit))
    content = "".join(lines).encode()
    with atomic_file(path) as file:
        file.write(gzip.compress(content, mtime=0))


def _rows(kit: Path) -> Iterator[Row]:
    for folder in ("real", "real2"):
        if (kit / folder).is_dir():
            yield from _sources(kit / folder)
    for row in read_rows(kit / "smoke" / "manifest.jsonl"):
        yield {"kind": "sample", "id": row["id"], "origin": row["origin"]}
    for part in BY_HAND:
        yield {"kind": "by_hand", **asdict(part)}
    for name in FILES:
        if (kit / name).is_file():
            yield {"kind": "file", "path": name, "content": json.loads((kit / name).read_text(encoding="utf-8"))}


def _sources(folder: Path) -> Iterator[Row]:
    """The sources of one folder of the kit, each followed by its clips; one for each repository."""
    origins = json.loads((folder / "sources.json").read_text(encoding="utf-8"))
    for name in (name for name in LAYOUTS if (folder / name).is_dir()):
        of_repo = defaultdict[str, list[Row]](list)
        repos = {each["repo"]: each["commit"] for each in origins[name].get("repos", [origins[name]])}
        for row in read_rows(folder / name / "manifest.jsonl"):
            of_repo[
                _COMMON_VOICE[row["subset"].split()[0]] if name.startswith("commonvoice") else next(iter(repos))
            ] += [row]
        for repo, rows in of_repo.items():
            yield from _source(folder, name, {"repo": repo, "commit": repos[repo]}, rows)


def _source(folder: Path, name: str, origin: Row, rows: Sequence[Row]) -> Iterator[Row]:
    known = [{k: v for k, v in row.items() if k not in ("id", "audio", "duration_s")} for row in rows]
    common = {k: v for k, v in known[0].items() if all(k in row and row[k] == v for row in known)}
    kit = {} if folder.name == "real" else {"kit": folder.name}
    yield {"kind": "source", "name": name, **origin, **kit, "common": common}
    for row, fields in zip(rows, known, strict=True):
        samples = audio.load(folder / name / row["audio"])
        end = {"end": CUT} if name == "librispeech" and row["duration_s"] == CUT else {}
        yield {
            "kind": "clip",
            "id": row["id"],
            "path": LAYOUTS[name](row["id"].split("/")[1], row),
            "seconds": round(samples.size / SAMPLE_RATE, 3),
            "levels": fingerprint(samples),
            **end,
            "fields": {k: v for k, v in fields.items() if k not in common},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the list of a kit.")
    parser.add_argument("--kit", type=Path, required=True, help="folder with real/ and smoke/")
    parser.add_argument("--out", type=Path, required=True, help="kit.jsonl.gz to write")
    arguments = parser.parse_args()
    write_list(arguments.out, arguments.kit)


if __name__ == "__main__":
    main()

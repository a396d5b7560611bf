"""Transcribed and translated speech: LibriSpeech, AISHELL, WenetSpeech, Common Voice, FLEURS, CoVoST 2, SpeechIO."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from osum.audio import SAMPLE_RATE
from osum.errors import InputError
from osum.evaluation.sets.layouts.unpacked import keyed, need, table, with_audio
from osum.utterance import Utterance

Clips = list[Utterance]


def librispeech(folder: Path, part: str) -> Clips:
    """`PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt` next to its FLAC files."""
    lists = sorted(need(folder / part).glob("*/*/*.trans.txt"))
    return with_audio(
        Utterance(name, str(path.parent / f"{name}.flac"), text=text, language="en", speaker=name.partition("-")[0])
        for path in lists
        for name, text in keyed(path)
    )


def aishell1(folder: Path) -> Clips:
    """The test speakers' folders of `data_aishell/wav`; the transcript is that of all parts."""
    data = folder / "data_aishell"
    texts = dict(keyed(data / "transcript" / "aishell_transcript_v0.8.txt"))
    wavs = need(data / "wav" / "test", hint="unpack data_aishell/wav/*.tar.gz too")
    return [
        Utterance(wav.stem, str(wav), text=texts[wav.stem], language="zh", speaker=wav.parent.name)
        for wav in wavs.glob("*/*.wav")
        if wav.stem in texts
    ]


def aishell1_gender(folder: Path) -> Clips:
    """The same clips; `resource_aishell/speaker.info` has F or M of speaker 0002, whose folder is S0002."""
    listed = {f"S{name.removeprefix('S')}": rest for name, rest in keyed(folder / "resource_aishell" / "speaker.info")}
    genders = {speaker: rest.split()[0] for speaker, rest in listed.items() if rest}
    return [clip.with_(labels={"gender": genders.get(clip.speaker or "", "")}) for clip in aishell1(folder)]


def aishell2(folder: Path, channel: str) -> Clips:
    """`CHANNEL/test` with `wav.scp`, whose paths start there, and `trans.txt`."""
    test = folder / channel / "test"
    texts = dict(keyed(test / "trans.txt"))
    return with_audio(
        Utterance(
            name, str(test / path), text=texts.get(name), language="zh", speaker=(test / path).parent.name
        )
        for name, path in keyed(test / "wav.scp")
    )  # fmt: skip


def wenetspeech(folder: Path, subset: str) -> Clips:
    """Stretches of long recordings, of the one list `WenetSpeech.json` of all parts."""
    return with_audio(
        Utterance(
            id=segment["sid"],
            path=str(folder / audio["path"]),
            start=float(segment["begin_time"]),
            end=float(segment["end_time"]),
            text=segment["text"],
            language="zh",
        )
        for audio in _streamed(need(folder / "WenetSpeech.json"), "audios")
        for segment in audio["segments"]
        if subset in segment["subsets"]
    )


def common_voice(folder: Path, language: str) -> Clips:
    """`LANGUAGE/test.tsv` and `LANGUAGE/clips`."""
    place = folder / language
    return with_audio(
        Utterance(
            id=Path(row["path"]).stem,
            path=str(place / "clips" / row["path"]),
            text=row["sentence"],
            language=language.partition("-")[0],
            speaker=row["client_id"],
        )
        for row in table(place / "test.tsv", ("client_id", "path", "sentence"), "\t")
    )


FLEURS_COLUMNS = ("id", "file", "raw", "text", "characters", "num_samples", "gender")


def fleurs(folder: Path, language: str) -> Clips:
    """`LANGUAGE/test.tsv`, which has no head line, and `LANGUAGE/audio/test`; several speakers read a sentence."""
    place = folder / language
    return with_audio(
        Utterance(
            id=Path(row["file"]).stem,
            path=str(place / "audio" / "test" / row["file"]),
            duration=int(row["num_samples"]) / SAMPLE_RATE,
            text=row["text"],
            language="zh",
            labels={"gender": row["gender"].strip().lower()},
        )
        for row in table(place / "test.tsv", FLEURS_COLUMNS, "\t", FLEURS_COLUMNS)
    )


def covost2(folder: Path, source: str, target: str) -> Clips:
    """`SOURCE/covost_v2.SOURCE_TARGET.test.tsv`, as its splitting script writes it, and Common Voice 4's `clips`."""
    place = folder / source
    rows = table(
        place / f"covost_v2.{source}_{target}.test.tsv", ("path", "sentence", "translation", "client_id"), "\t"
    )
    return with_audio(
        Utterance(
            id=Path(row["path"]).stem,
            path=str(place / "clips" / row["path"]),
            text=row["sentence"],
            language=source.partition("-")[0],
            reply=row["translation"],
            speaker=row["client_id"],
        )
        for row in rows
    )


def speechio(folder: Path, part: str) -> Clips:
    """`PART/metadata.tsv`, whose audio paths start there."""
    place = folder / part
    return with_audio(
        Utterance(id=row["ID"], path=str(place / row["AUDIO"]), text=row["TEXT"], language="zh")
        for row in table(place / "metadata.tsv", ("ID", "AUDIO", "TEXT"), "\t")
    )


_CHUNK = 8 << 20  # characters
_GAP = re.compile(r"[\s,]*")


def _streamed(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """The objects of the list `name` in a JSON file that is too large to be held.

    Raises:
        InputError: the file ends before the list does, or has none.
    """
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8") as file:
        text = file.read(_CHUNK)
        start = re.search(rf'"{name}"\s*:\s*\[', text)
        at = start.end() if start else len(text)
        while True:
            at = _GAP.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too
            if text.startswith("]", at):
                return
            try:
                item, at = decoder.raw_decode(text, at)
            except ValueError as fault:
                more = file.read(_CHUNK) if start else ""
                if not more:
                    raise InputError(f"{str(path)!r} is cut off, or holds no list {name!r}") from fault
                text, at = text[at:] + more, 0
                continue
            yield item

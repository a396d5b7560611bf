"""Labels in the sets' own words: MELD, ESC-50, VocalSound, Kaggle's Common Voice, RAVDESS; AIR-Bench's questions."""

from __future__ import annotations

from pathlib import Path

from osum.errors import InputError
from osum.evaluation.sets.layouts.unpacked import need, table, whole_json, with_audio
from osum.utterance import Utterance

Clips = list[Utterance]


def meld(folder: Path) -> Clips:
    """`test_sent_emo.csv` and the clips `dia0_utt0.mp4` of test.tar.gz, or sound that was taken out of them."""
    columns = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
    rows = table(folder / "test_sent_emo.csv", columns, ",")
    name = "output_repeated_splits_test"
    videos = need(folder / name, folder / "test" / name, hint="unpack MELD.Raw/test.tar.gz too")
    suffix = next((suffix for suffix in (".wav", ".flac") if any(videos.glob(f"*{suffix}"))), ".mp4")
    return with_audio(
        Utterance(
            id=(clip := f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"),
            path=str(videos / f"{clip}{suffix}"),
            text=row["Utterance"],
            language="en",
            labels={"emotion": row["Emotion"]},
            speaker=row["Speaker"],
        )
        for row in rows
    )


def esc50(folder: Path, label_set: str) -> Clips:
    """`meta/esc50.csv` and `audio`; pieces of one recording are named alike and lie in one fold."""
    return with_audio(
        Utterance(
            id=Path(row["filename"]).stem,
            path=str(folder / "audio" / row["filename"]),
            labels={label_set: row["category"]},
            speaker=row["src_file"],
            extra={"fold": row["fold"]},
        )
        for row in table(folder / "meta" / "esc50.csv", ("filename", "fold", "category", "src_file"), ",")
    )


def vocalsound(folder: Path) -> Clips:
    """Names of `datafiles/te.json`, `f0003_0_cough.wav`: speaker, recording, sound; in `audio_16k` or `audio_44k`."""
    audio = need(folder / "audio_16k", folder / "audio_44k")
    names = [str(row["wav"]).rpartition("/")[2] for row in whole_json(folder / "datafiles" / "te.json")["data"]]
    return with_audio(
        Utterance(
            id=Path(name).stem,
            path=str(audio / name),
            labels={"event": Path(name).stem.split("_")[2]},
            speaker=name.split("_")[0],
        )
        for name in names
    )


def kaggle_common_voice(folder: Path) -> Clips:
    """`cv-valid-test.csv`; its names start with `cv-valid-test/`, which Kaggle packs into a folder of the same name."""
    place = folder / "cv-valid-test" if (folder / "cv-valid-test" / "cv-valid-test").is_dir() else folder
    return with_audio(
        Utterance(
            id=Path(row["filename"]).stem,
            path=str(place / row["filename"]),
            text=row["text"],
            language="en",
            labels={"gender": row["gender"], "age": row["age"]},
        )
        for row in table(folder / "cv-valid-test.csv", ("filename", "text", "age", "gender"), ",")
    )


RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""By the third number of a name, from 01."""
_RAVDESS_TEXTS = ("kids are talking by the door", "dogs are sitting by the door")
_SPOKEN = "03-01-"  # audio only, speech


def ravdess(folder: Path) -> Clips:
    """`Actor_01/03-01-06-01-02-01-12.wav`: modality, channel, emotion, intensity, statement, repetition, actor.

    Actors of odd number are male.
    """
    files = [path for path in folder.rglob(f"{_SPOKEN}*") if path.suffix in (".wav", ".flac", ".ogg")]
    if not files:
        raise InputError(f"{str(folder)!r} holds no {_SPOKEN}*.wav")
    clips = []
    for path in files:
        _, _, emotion, _, statement, _, actor = (int(part) for part in path.stem.split("-"))
        labels = {"emotion": RAVDESS_EMOTIONS[emotion - 1], "gender": "male" if actor % 2 else "female"}
        text = _RAVDESS_TEXTS[statement - 1]
        clips.append(
            Utterance(path.stem, str(path), text=text, language="en", labels=labels, speaker=f"ravdess{actor:02d}")
        )
    return clips


AIR_BENCH = {
    "speech": ("speech_QA", "speech_dialogue_QA"),
    "sound": ("sound_QA", "sound_generation_QA"),
    "music": ("music_QA", "music_generation_analysis_QA"),
    "mixed": ("speech_and_sound_QA", "speech_and_music_QA"),
}
"""Kind of sound to the tasks of AIR-Bench's chat part."""


def air_bench_chat(folder: Path, kind: str) -> Clips:
    """`Chat/Chat_meta.json`, audio in `Chat/TASK_DATASET`; the written question and a description are in `extra`."""
    place = folder / "Chat"
    rows = [row for row in whole_json(place / "Chat_meta.json") if row["task_name"] in AIR_BENCH[kind]]
    return with_audio(
        Utterance(
            id=str(row["uniq_id"]),
            path=str(place / f"{row['task_name']}_{row['dataset_name']}" / row["path"]),
            reply=row["answer_gt"],
            extra={"question": row["question"], "description": row["meta_info"], "part": row["task_name"]},
        )
        for row in rows
    )

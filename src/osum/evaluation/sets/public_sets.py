"""The public test sets of the paper's tables 4 and 5, of Qwen2-Audio's list, and a few others.

Layouts, licences and counts are what their publishers or the cited recipes say; an empty `layout_source` means that the
layout is not public, so the set is read from a JSONL of ours.
"""

from __future__ import annotations

from functools import partial

from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.layouts import labelled, speech
from osum.evaluation.sets.layouts.unpacked import LISTED, listed
from osum.tasks import EMOTIONS, GENDERS, LabelSet, Task

_LHOTSE = "https://github.com/lhotse-speech/lhotse/blob/master/lhotse/recipes"
_AS_WENET = "Counted as WeNet's compute-wer --char=1 does: Chinese by character, other words whole"

# What no checkpoint of ours is asked

_SOUNDS = """
dog rooster pig cow frog cat hen insects sheep crow rain sea_waves crackling_fire crickets chirping_birds water_drops
wind pouring_water toilet_flush thunderstorm crying_baby sneezing clapping breathing coughing footsteps laughing
brushing_teeth snoring drinking_sipping door_wood_knock mouse_click keyboard_typing door_wood_creaks can_opening
washing_machine vacuum_cleaner clock_alarm clock_tick glass_breaking helicopter chainsaw siren car_horn engine train
church_bells airplane fireworks hand_saw
"""
SOUNDS = LabelSet("sound", tuple(name.replace("_", " ") for name in _SOUNDS.split()))
"""The 50 classes of ESC-50."""
SOUND = Task("SOUND", "<SOUND>", "kind of sound", "none", (SOUNDS,), needs="sound", metrics=("accuracy",))
TRANSLATION = Task("S2TT", "<TRANSLATE>", "translation", "none", reply=True, metrics=("bleu",))


def _same(labels: LabelSet) -> dict[str, str]:
    """A set that uses our words."""
    return {label: label for label in labels.labels}


# Transcripts


def _librispeech(part: str, count: int) -> Benchmark:
    return Benchmark(
        name=f"librispeech-{part}",
        title=f"LibriSpeech {part}",
        task="ASR",
        target="text",
        metric="wer",
        licence="CC BY 4.0",
        home="https://www.openslr.org/12",
        reader=partial(speech.librispeech, part=part),
        layout="test-clean (or another part)/SPEAKER/CHAPTER/*.flac with SPEAKER-CHAPTER.trans.txt next to them",
        layout_source=f"{_LHOTSE}/librispeech.py",
        folder="LibriSpeech",
        language="en",
        normaliser="whisper-en",
        count=count,
    )


AISHELL1 = Benchmark(
    name="aishell1",
    title="AISHELL-1 test",
    task="ASR",
    target="text",
    metric="mer",
    licence="Apache-2.0",
    home="https://www.openslr.org/33",
    reader=speech.aishell1,
    layout="data_aishell/wav/test/S0764/*.wav (the inner archives unpacked too) and "
    "data_aishell/transcript/aishell_transcript_v0.8.txt",
    layout_source=f"{_LHOTSE}/aishell.py",
    folder="aishell",
    language="zh",
    count=7176,
    note=_AS_WENET,
)
AISHELL1_GENDER = Benchmark(
    name="aishell1-gender",
    title="AISHELL-1 test, gender",
    task="SGC",
    target="label",
    metric="accuracy",
    licence="Apache-2.0",
    home="https://www.openslr.org/33",
    reader=speech.aishell1_gender,
    layout="data_aishell as for aishell1, and resource_aishell/speaker.info of resource_aishell.tgz",
    layout_source="https://www.openslr.org/33",
    folder="aishell",
    label_set="gender",
    labels={"F": "female", "M": "male"},
    count=7176,
    note="20 speakers",
)


def _aishell2(channel: str) -> Benchmark:
    return Benchmark(
        name=f"aishell2-{channel.lower()}",
        title=f"AISHELL-2 test, {channel}",
        task="ASR",
        target="text",
        metric="mer",
        licence="free for non-commercial research and education, on application",
        home="https://www.aishelltech.com/aishell_eval",
        reader=partial(speech.aishell2, channel=channel),
        layout="Mic, iOS and Android, each with test/wav.scp (its paths start there), test/trans.txt and the wav files",
        layout_source="https://github.com/kaldi-asr/kaldi/blob/master/egs/aishell2/s5/local/prepare_data.sh",
        folder="AISHELL-2",
        language="zh",
        count=5000,
        note=f"{_AS_WENET}; AISHELL2-2018A-EVAL, 10 speakers",
    )


def _wenetspeech(subset: str, name: str) -> Benchmark:
    return Benchmark(
        name=f"wenetspeech-{name}",
        title=f"WenetSpeech {name}",
        task="ASR",
        target="text",
        metric="mer",
        licence="CC BY 4.0, for non-commercial use; on application",
        home="https://wenet-e2e.github.io/WenetSpeech/",
        reader=partial(speech.wenetspeech, subset=subset),
        layout="WenetSpeech.json and the audio that it names",
        layout_source="https://github.com/wenet-e2e/WenetSpeech/blob/main/toolkits/wenet/extract_meta.py",
        folder="WenetSpeech",
        language="zh",
        note=f"{_AS_WENET}; stretches of long recordings, their speakers are not known",
    )


def _common_voice(language: str, count: int | None, metric: str, normaliser: str) -> Benchmark:
    return Benchmark(
        name=f"common-voice-15-{language.lower()}",
        title=f"Common Voice 15, {language}",
        task="ASR",
        target="text",
        metric=metric,
        licence="CC0",
        home="https://commonvoice.mozilla.org/datasets",
        reader=partial(speech.common_voice, language=language),
        layout="en (or another language), with test.tsv and clips/*.mp3",
        layout_source=f"{_LHOTSE}/commonvoice.py",
        folder="cv-corpus-15.0-2023-09-08",
        language=language.partition("-")[0],
        normaliser=normaliser,
        count=count,
        note="Release 15.0; clips counted by https://github.com/common-voice/cv-dataset" if count else "Release 15.0",
    )


FLEURS_ZH = Benchmark(
    name="fleurs-zh",
    title="FLEURS, Mandarin",
    task="ASR",
    target="text",
    metric="mer",
    licence="CC BY 4.0",
    home="https://huggingface.co/datasets/google/fleurs",
    reader=partial(speech.fleurs, language="cmn_hans_cn"),
    layout="cmn_hans_cn/test.tsv and cmn_hans_cn/audio/test/*.wav (audio/test.tar.gz unpacked)",
    layout_source="https://huggingface.co/datasets/google/fleurs/blob/main/fleurs.py",
    folder="fleurs",
    language="zh",
    normaliser="wetext-zh",
    count=945,
    note="Numbers are written in digits, so both sides are spelled out before they are compared",
)


def _speechio(number: int) -> Benchmark:
    part = f"SPEECHIO_ASR_ZH{number:05d}"
    return Benchmark(
        name=f"speechio-{number:02d}",
        title=f"SpeechIO {part}",
        task="ASR",
        target="text",
        metric="mer",
        licence="see its home",
        home="https://github.com/SpeechColab/Leaderboard",
        reader=partial(speech.speechio, part=part),
        layout="SPEECHIO_ASR_ZH00000 to 00026, each with metadata.tsv (ID, AUDIO, TEXT) and the audio that it names",
        layout_source=f"{_LHOTSE}/speechio.py",
        folder="SpeechIO",
        language="zh",
        note=f"{_AS_WENET}; the leaderboard's own normalisation of numbers is not ours",
    )


ASRU = Benchmark(
    name="asru-codeswitching",
    title="ASRU 2019 Mandarin-English code-switching",
    task="ASR",
    target="text",
    metric="mer",
    licence="on application to the organisers",
    home="https://arxiv.org/abs/2007.05916",
    reader=listed,
    layout=f"{LISTED}, rows of ours with id, path and text, and the audio",
    note="The layout is not public. Published CER and WER are of the Chinese and of the English part of the texts",
)

# Translation

_COVOST2 = {"de": "German", "zh-CN": "Chinese", "en": "English"}
"""Target languages, as a prompt names them."""


def _covost2(source: str, target: str) -> Benchmark:
    short = f"{source.partition('-')[0]}-{target.partition('-')[0]}"
    return Benchmark(
        name=f"covost2-{short}",
        title=f"CoVoST 2, {short}",
        task=TRANSLATION.name,
        target="reply",
        metric="bleu",
        licence="CC0",
        home="https://github.com/facebookresearch/covost",
        reader=partial(speech.covost2, source=source, target=target),
        layout="en (or another source language), with covost_v2.en_de.test.tsv, which its get_covost_splits.py writes, "
        "and clips/*.mp3 of Common Voice 4",
        layout_source="https://github.com/facebookresearch/covost/blob/main/README.md",
        folder="covost2",
        language=source.partition("-")[0],
        normaliser="none",
        note="sacrebleu, case and punctuation counted",
        prompt=f"Translate the speech into {_COVOST2[target]}. Write the translation only.",
    )


# Labels

MELD = Benchmark(
    name="meld",
    title="MELD test",
    task="SER",
    target="label",
    metric="accuracy",
    licence="GPL-3.0",
    home="https://github.com/declare-lab/MELD",
    reader=labelled.meld,
    layout="test_sent_emo.csv and output_repeated_splits_test/dia0_utt0.mp4 of test.tar.gz, or .wav taken out of them",
    layout_source="https://github.com/declare-lab/MELD/blob/master/README.md",
    folder="MELD.Raw",
    label_set="emotion",
    labels={"joy": "happy", "sadness": "sad"}
    | {label: label for label in ("neutral", "anger", "surprise", "fear", "disgust")},
    count=2610,
    note="Clips are videos: the extra 'media' reads them. 48 % are neutral",
)
MER2023 = Benchmark(
    name="mer2023",
    title="MER2023 test",
    task="SER",
    target="label",
    metric="accuracy",
    licence="academic research only, by an agreement that forbids passing it on",
    home="https://huggingface.co/datasets/MERChallenge/MER2023",
    reader=listed,
    layout=f"{LISTED}, rows of ours with id, path and labels.emotion in our words, and the audio",
    label_set="emotion",
    labels=_same(EMOTIONS),
    note="The layout is behind the agreement. How the paper mapped `worried`, which we have not, is not published",
)
_ESC50 = Benchmark(
    name="esc50",
    title="ESC-50, eight events",
    task="VED",
    target="label",
    metric="accuracy",
    licence="CC BY-NC 3.0",
    home="https://github.com/karolpiczak/ESC-50",
    reader=partial(labelled.esc50, label_set="event"),
    layout="meta/esc50.csv and audio/*.wav",
    layout_source="https://github.com/karolpiczak/ESC-50/blob/master/README.md",
    folder="ESC-50-master",
    label_set="event",
    labels=dict.fromkeys(_SOUNDS.split(), "other")
    | {"laughing": "laugh", "coughing": "cough", "crying_baby": "cry", "sneezing": "sneeze"},
    merged={"none": "other"},
    count=2000,
    note="Our reading of the paper's eight classes, whose counts it does not give: 4 of the 50 are events of ours, so "
    "92 % of the clips are `other`. `speaker` is the recording that a clip was cut from",
)
ESC50_SOUNDS = Benchmark(
    name="esc50-sounds",
    title="ESC-50, its 50 classes",
    task=SOUND.name,
    target="label",
    metric="accuracy",
    licence=_ESC50.licence,
    home=_ESC50.home,
    reader=partial(labelled.esc50, label_set="sound"),
    layout=_ESC50.layout,
    layout_source=_ESC50.layout_source,
    folder=_ESC50.folder,
    label_set="sound",
    labels={name: name.replace("_", " ") for name in _SOUNDS.split()},
    count=2000,
    note="Five folds, in `extra.fold`: a model that learned must be asked about the fold that it did not learn from",
    prompt=f"What is heard? Answer with one of: {', '.join(SOUNDS.labels)}.",
)
VOCALSOUND = Benchmark(
    name="vocalsound",
    title="VocalSound test",
    task="VED",
    target="label",
    metric="accuracy",
    licence="CC BY-SA 4.0",
    home="https://github.com/YuanGongND/vocalsound",
    reader=labelled.vocalsound,
    layout="datafiles/te.json and audio_16k/f0003_0_cough.wav, what vs_release_16k.zip holds",
    layout_source="https://github.com/YuanGongND/vocalsound/blob/main/README.md",
    label_set="event",
    labels={
        "laughter": "laugh",
        "sigh": "sigh",
        "cough": "cough",
        "throatclearing": "throat clearing",
        "sneeze": "sneeze",
        "sniff": "other",
    },
    note="Six classes; `sniff` is no event of ours and counts as `other`. How the paper counted it is not published",
)


def _kaggle(name: str, task: str, labels: dict[str, str], note: str) -> Benchmark:
    return Benchmark(
        name=f"kaggle-common-voice-{name}",
        title=f"Kaggle Common Voice valid-test, {name}",
        task=task,
        target="label",
        metric="accuracy",
        licence="CC0",
        home="https://www.kaggle.com/datasets/mozillaorg/common-voice",
        reader=labelled.kaggle_common_voice,
        layout="cv-valid-test.csv and cv-valid-test/cv-valid-test/sample-000000.mp3",
        layout_source="https://www.kaggle.com/datasets/mozillaorg/common-voice",
        folder="kaggle-common-voice",
        label_set=name,
        labels=labels,
        note=note,
    )


_DECADES = dict.fromkeys(("twenties", "thirties", "fourties", "fifties"), "adult") | dict.fromkeys(
    ("sixties", "seventies", "eighties", "nineties"), "old"
)


def _ravdess(name: str, task: str, labels: dict[str, str]) -> Benchmark:
    return Benchmark(
        name=f"ravdess-{name}",
        title=f"RAVDESS speech, {name}",
        task=task,
        target="label",
        metric="accuracy",
        licence="CC BY-NC-SA 4.0: for measuring only",
        home="https://zenodo.org/records/1188976",
        reader=labelled.ravdess,
        layout="Actor_01/03-01-01-01-01-01-01.wav, what Audio_Speech_Actors_01-24.zip holds (1440 clips)",
        layout_source="https://zenodo.org/records/1188976",
        folder="ravdess",
        label_set=name,
        labels=labels,
        note="Acted, two sentences; a part of the set is read too, so the number of clips is not checked",
    )


# Dialogue


def _air_bench(heard: str) -> Benchmark:
    parts = ", ".join(labelled.AIR_BENCH[heard])
    return Benchmark(
        name=f"air-bench-chat-{heard}",
        title=f"AIR-Bench chat, {heard}",
        task="STTC",
        target="reply",
        metric="judge",
        licence="see its home",
        home="https://github.com/OFA-Sys/AIR-Bench",
        reader=partial(labelled.air_bench_chat, heard=heard),
        layout="Chat/Chat_meta.json and the audio in Chat/TASK_DATASET/",
        layout_source="https://github.com/OFA-Sys/AIR-Bench/blob/main/Inference_Chat.py",
        folder="AIR-Bench",
        note=f"{parts}. Each clip is asked about in the words that are written with it. "
        "Scores of another judge than the paper's cannot be compared with it",
    )


PUBLIC_SETS = (
    _librispeech("test-clean", 2620),
    _librispeech("test-other", 2939),
    _librispeech("dev-clean", 2703),
    _librispeech("dev-other", 2864),
    AISHELL1,
    *(_aishell2(channel) for channel in ("Mic", "iOS", "Android")),
    _wenetspeech("TEST_NET", "test-net"),
    _wenetspeech("TEST_MEETING", "test-meeting"),
    _common_voice("en", 16386, "wer", "whisper-en"),
    _common_voice("zh-CN", 10625, "mer", "wetext-zh"),
    _common_voice("yue", None, "mer", "osum"),
    _common_voice("fr", 16132, "wer", "whisper-basic"),
    FLEURS_ZH,
    *(_speechio(number) for number in range(27)),
    ASRU,
    *(_covost2(*pair) for pair in (("en", "de"), ("de", "en"), ("en", "zh-CN"), ("zh-CN", "en"))),
    *(_covost2(source, "en") for source in ("es", "fr", "it")),
    MELD,
    MER2023,
    _ESC50,
    ESC50_SOUNDS,
    VOCALSOUND,
    AISHELL1_GENDER,
    _kaggle("gender", "SGC", _same(GENDERS), "Clips without a gender, or with `other`, are left out"),
    _kaggle(
        *("age", "SAP", _DECADES),
        "`teens` may be a child or an adult and is left out; from the sixties on is `old`. The paper's mapping is not "
        "published",
    ),
    *(_air_bench(heard) for heard in labelled.AIR_BENCH),
    _ravdess("gender", "SGC", _same(GENDERS)),
    _ravdess(
        "emotion",
        "SER",
        {"angry": "anger", "fearful": "fear", "surprised": "surprise", "calm": "neutral"}
        | {label: label for label in ("neutral", "happy", "sad", "disgust")},
    ),
)

"""Every label set and every task, spelled once (OSUM spec 3.2, 3.3).

`RELEASE` is what the released OSUM answers, `ECHAT` what the released OSUM-EChat answers (echat spec 2.6); `OSUM` is
what checkpoints of our own answer.
"""

from __future__ import annotations

from dataclasses import replace

from osum.tasks.label_set import LabelSet
from osum.tasks.task import Task
from osum.tasks.task_set import TaskSet

EVENTS = LabelSet("event", ("laugh", "cough", "cry", "screaming", "sigh", "throat clearing", "sneeze", "other"))
EVENTS_OR_NONE = LabelSet("event", (*EVENTS.labels, "none"))
"""Our own checkpoints may say that there is no event; the release cannot."""
EMOTIONS = LabelSet("emotion", ("sad", "anger", "neutral", "happy", "surprise", "fear", "disgust", "other"))
STYLES = LabelSet(
    "style",
    ("新闻科普", "恐怖故事", "童话故事", "客服", "诗歌散文", "有声书", "日常口语", "其他"),
    display={
        "新闻科普": "news and science",
        "恐怖故事": "horror story",
        "童话故事": "fairy tale",
        "客服": "customer service",
        "诗歌散文": "poetry and prose",
        "有声书": "audiobook",
        "日常口语": "everyday speech",
        "其他": "other",
    },
    folds={
        "朗读": "新闻科普",
        "科普百科": "新闻科普",
        "悬疑恐怖": "恐怖故事",
        "诗歌": "诗歌散文",
        "散文": "诗歌散文",
        "武侠评书": "有声书",
        "小说": "有声书",
        "历史": "有声书",
        "科幻": "有声书",
        "对话": "日常口语",
        "口语": "日常口语",
        "幽默": "其他",
    },
)
GENDERS = LabelSet("gender", ("female", "male"))
AGES = LabelSet("age", ("child", "adult", "old"), folds={"youth": "adult", "middle": "adult", "middle age": "adult"})
REPLY_EMOTIONS = LabelSet(
    "reply_emotion",
    ("愉悦", "抱歉", "开心", "愤怒", "惊讶", "厌恶", "悲伤", "害怕", "哭腔", "安慰鼓励", "中立"),
    display={
        "愉悦": "pleased",
        "抱歉": "sorry",
        "开心": "happy",
        "愤怒": "angry",
        "惊讶": "surprised",
        "厌恶": "disgusted",
        "悲伤": "sad",
        "害怕": "afraid",
        "哭腔": "tearful",
        "安慰鼓励": "comforting",
        "中立": "neutral",
    },
    folds={
        "anger": "愤怒",
        "fear": "害怕",
        "happy": "开心",
        "surprise": "惊讶",
        "sad": "悲伤",
        "disgust": "厌恶",
        "sorry": "抱歉",
        "neutral": "中立",
    },
)
"""The feeling with which a dialogue answers, and the names of it in the release's older data (echat 2.5)."""
LANGUAGES = LabelSet("language", ("zh", "en"), display={"zh": "Mandarin", "en": "English"})
TURNS = LabelSet("turn", ("complete", "incomplete", "backchannel", "wait"))
"""Whether somebody who has paused is to be answered: the four states of Easy Turn (echat 6.2)."""

LABEL_METRICS = ("accuracy", "macro_f1", "unweighted_recall")

ASR = Task("ASR", "<TRANSCRIBE>", "transcript", metrics=("wer", "cer", "mer"))
PUNC = Task(
    "PUNC",
    "<TRANSCRIBE> <PUNCTUATION>",
    "transcript with punctuation",
    punctuated=True,
    metrics=("wer", "cer", "mer"),
)
SRWT = Task("SRWT", "<TRANSCRIBE> <ALIGN>", "transcript with word times", "timed", metrics=("aas", "mer"))
VED = Task(
    "VED", "<TRANSCRIBE> <CAPTION>", "vocal event", label_sets=(EVENTS_OR_NONE,), needs="sound", metrics=LABEL_METRICS
)
SER = Task("SER", "<TRANSCRIBE> <EMOTION>", "emotion", label_sets=(EMOTIONS,), needs="voice", metrics=LABEL_METRICS)
SSR = Task("SSR", "<TRANSCRIBE> <STYLE>", "speaking style", label_sets=(STYLES,), metrics=LABEL_METRICS)
SGC = Task("SGC", "<TRANSCRIBE> <GENDER>", "gender", label_sets=(GENDERS,), needs="voice", metrics=LABEL_METRICS)
SAP = Task("SAP", "<TRANSCRIBE> <AGE>", "age", label_sets=(AGES,), needs="voice", metrics=LABEL_METRICS)
STTC = Task("STTC", "<TRANSCRIBE> <S2TCHAT>", "reply", reply=True, metrics=("mer",))
LID = Task("LID", "<TRANSCRIBE> <LANGUAGE>", "language", label_sets=(LANGUAGES,), metrics=LABEL_METRICS)
TURN = Task("TURN", "<TRANSCRIBE> <TURN>", "end of turn", label_sets=(TURNS,), metrics=LABEL_METRICS)


def _together(*tasks: Task) -> Task:
    """One task that asks for the labels of several, in their order."""
    return replace(
        tasks[-1],
        name="+".join(task.name for task in tasks),
        tag=" ".join(("<TRANSCRIBE>", *(task.tag.removeprefix("<TRANSCRIBE> ") for task in tasks))),
        title=", ".join(task.title for task in tasks),
        label_sets=tuple(labels for task in tasks for labels in task.label_sets),
    )


def _only(task: Task) -> Task:
    """The tag or reply alone, without a transcript (OSUM spec 3.3)."""
    return replace(
        task,
        name=f"{task.name}-only",
        tag=task.tag.removeprefix("<TRANSCRIBE> "),
        title=f"{task.title}, no transcript",
        transcript="none",
        metrics=() if task.reply else task.metrics,
    )


_WHOLE = (ASR, SRWT, VED, SER, SSR, SGC, SAP, STTC)
_COMPOSITES = (_together(SAP, SGC), _together(SSR, SAP, SGC))
_OURS = (
    *_WHOLE,
    LID,
    TURN,
    *_COMPOSITES,
    *(_only(task) for task in (VED, SER, SSR, SGC, SAP, STTC, LID, TURN, *_COMPOSITES)),
)
_SOUND = replace(_only(VED), name="VED-sound", tag="<CAPTION> <AUDIO>", title="vocal event in any audio, no transcript")
"""Asked of any recording, with speech or without. That its labels are those of `VED` is our inference."""
_ECHATS = (
    PUNC,
    _SOUND,
    _together(VED, SAP, SGC),
    _together(SER, SAP, SGC),
    _together(SAP, SGC, SSR, SER),
    _together(VED, SAP, SGC, SER, SSR),
)


def _released(task: Task) -> Task:
    sets = (EVENTS if labels == EVENTS_OR_NONE else labels for labels in task.label_sets)
    return replace(task, label_sets=tuple(sets))


OSUM = TaskSet("osum", _OURS, prompt_sets=("osum", "release"))
"""What checkpoints of our own answer: all tasks, with language, end of turn, and `none` among the events."""

RELEASE = TaskSet(
    "release",
    tuple(_released(task) for task in _OURS if not {LANGUAGES, TURNS} & set(task.label_sets)),
    prompt_sets=("release", "osum"),
)
"""What the released OSUM answers. Its Chinese prompts are the ones it was trained with; it saw no English ones."""

QWEN2_AUDIO = TaskSet(
    "qwen2-audio",
    tuple(
        replace(task, transcript="plain" if task is ASR else "none", free=True)
        for task in (ASR, VED, SER, SGC, SAP, STTC, LID)
    ),
    prompt_sets=("qwen2_audio",),
)
"""What Qwen2-Audio is asked: each task alone, answered in free words."""

ECHAT = TaskSet(
    "echat",
    (*RELEASE.tasks, *(_released(task) for task in _ECHATS)),
    prompt_sets=("echat", "release", "osum"),
)
"""What the released OSUM-EChat answers. Where its demo has a prompt for a task, that is the Chinese one."""

"""Every benchmark and suite by name: `osum evaluate --benchmark kit-gender,meld --suite table4`."""

from __future__ import annotations

from collections.abc import Mapping

from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.echat import ECHAT_SETS
from osum.evaluation.sets.own_sets import OWN_SETS
from osum.evaluation.sets.public_sets import PUBLIC_SETS, SOUND, TRANSLATION
from osum.evaluation.sets.spoken_questions import SPOKEN_QUESTION_SETS, VOICEBENCH_COLUMNS
from osum.tasks import OSUM, Task

TASKS: Mapping[str, Task] = {**OSUM, TRANSLATION.name: TRANSLATION, SOUND.name: SOUND}
"""What benchmarks ask: tasks of ours, and two that only models with free prompts, or of their own training, answer."""

BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark for benchmark in (*PUBLIC_SETS, *ECHAT_SETS, *SPOKEN_QUESTION_SETS, *OWN_SETS)
}

_OF_NANO = ("kit-", "synthetic-", "espeak-")
SUITES: Mapping[str, tuple[str, ...]] = {
    "table4": (
        *("wenetspeech-test-net", "wenetspeech-test-meeting", "aishell2-mic", "aishell2-ios", "aishell2-android"),
        *("librispeech-test-clean", "librispeech-test-other"),
    ),
    "table5": (
        *("esc50", "vocalsound", "meld", "mer2023", "aishell1-gender", "kaggle-common-voice-gender"),
        *("kaggle-common-voice-age", "air-bench-chat-speech"),
    ),
    "qwen2-audio": (
        *(f"librispeech-{part}" for part in ("dev-clean", "dev-other", "test-clean", "test-other")),
        *(f"common-voice-15-{language}" for language in ("en", "zh-cn", "yue", "fr")),
        *("fleurs-zh", "aishell2-mic", "aishell2-ios", "aishell2-android"),
        *(f"covost2-{pair}" for pair in ("en-de", "de-en", "en-zh", "zh-en", "es-en", "fr-en", "it-en")),
        *("meld", "vocalsound"),
        *(f"air-bench-chat-{kind}" for kind in ("speech", "sound", "music", "mixed")),
    ),
    "voicebench": tuple(f"voicebench-{column}" for column in VOICEBENCH_COLUMNS),
    "understanding": (
        *("wenetspeech-test-net", "wenetspeech-test-meeting", "aishell2-mic", "aishell2-ios", "aishell2-android"),
        *("librispeech-test-clean", "librispeech-test-other", "vocalsound", "mmau-sound", "meld", "mer2023"),
        *("aishell1-gender", "kaggle-common-voice-gender", "kaggle-common-voice-age"),
    ),
    "echat": tuple(benchmark.name for benchmark in ECHAT_SETS),
    "nano": tuple(name for name in BENCHMARKS if name.startswith(_OF_NANO)),
    "samples": tuple(name for name in BENCHMARKS if name.startswith("samples")),
}
"""The public sets of the paper's tables, and our own."""

"""Every public layout in miniature: what is read from it, and what is reported when a part of it is missing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from osum.errors import InputError
from osum.evaluation.sets.catalogue import BENCHMARKS

LIBRISPEECH = {
    "test-clean/61/70968/61-70968.trans.txt": "61-70968-0001 GIVE NOT SO EARNEST\n61-70968-0000 HE BEGAN\n",
    "test-clean/61/70968/61-70968-0000.flac": "",
    "test-clean/61/70968/61-70968-0001.flac": "",
}
AISHELL1 = {
    "data_aishell/transcript/aishell_transcript_v0.8.txt": "BAC009S0764W0121 甚至 出现 交易\nBAC009S0002W0122 而 对\n",
    "data_aishell/wav/test/S0764/BAC009S0764W0121.wav": "",
    "data_aishell/wav/train/S0002/BAC009S0002W0122.wav": "",
    "resource_aishell/speaker.info": "0002 F\n0764 M\n",
}
AISHELL2 = {
    "iOS/test/wav.scp": "IT0011W0001\twav/T0011/IT0011W0001.wav\n",
    "iOS/test/trans.txt": "IT0011W0001\t换一首歌\n",
    "iOS/test/wav/T0011/IT0011W0001.wav": "",
}
WENETSPEECH = {
    "WenetSpeech.json": json.dumps(
        {
            "dataset": "WenetSpeech",
            "audios": [
                {"path": "audio/train/a.opus", "segments": [{"subsets": ["L", "M"]}]},
                {
                    "path": "audio/test_net/b.opus",
                    "segments": [
                        {"sid": f"b_S{n}", "begin_time": n, "end_time": n + 0.5, "text": text, "subsets": ["TEST_NET"]}
                        for n, text in enumerate(("怎么样", "好吧"))
                    ],
                },
            ],
        },
        ensure_ascii=False,
    ),
    "audio/test_net/b.opus": "",
}
COMMON_VOICE = {
    "en/test.tsv": 'client_id\tpath\tsentence\tup_votes\nab12\tcommon_voice_en_1.mp3\tHe said "no"\t2\n',
    "en/clips/common_voice_en_1.mp3": "",
}
FLEURS = {
    "cmn_hans_cn/test.tsv": "1906\t10020.wav\t这并非,\t这 并 非\t这 | 并\t32000\tFEMALE\n",
    "cmn_hans_cn/audio/test/10020.wav": "",
}
SPEECHIO = {
    "SPEECHIO_ASR_ZH00001/metadata.tsv": "ID\tAUDIO\tDURATION\tTEXT\nx_0001\twav/x_0001.wav\t3.2\t本期节目\n",
    "SPEECHIO_ASR_ZH00001/wav/x_0001.wav": "",
}
COVOST2 = {
    "en/covost_v2.en_de.test.tsv": "path\tsentence\ttranslation\tclient_id\ncv_1.mp3\tGood day\tGuten Tag\tab12\n",
    "en/clips/cv_1.mp3": "",
}
MELD = {
    "test_sent_emo.csv": "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
    '1,"Why do all, you\'re?",Mark,joy,positive,0,0\n',
    "output_repeated_splits_test/dia0_utt0.mp4": "",
}
ESC50 = {
    "meta/esc50.csv": "filename,fold,target,category,esc10,src_file,take\n"
    "1-1-A-20.wav,1,20,crying_baby,True,77,A\n2-2-A-3.wav,2,3,cow,False,78,A\n",
    "audio/1-1-A-20.wav": "",
    "audio/2-2-A-3.wav": "",
}
VOCALSOUND = {
    "datafiles/te.json": json.dumps({"data": [{"wav": "/x/audio_16k/f0003_0_throatclearing.wav", "labels": "/m/1"}]}),
    "audio_16k/f0003_0_throatclearing.wav": "",
}
KAGGLE = {
    "cv-valid-test.csv": "filename,text,up_votes,down_votes,age,gender,accent,duration\n"
    "cv-valid-test/sample-0.mp3,go on,1,0,fourties,male,us,\ncv-valid-test/sample-1.mp3,stop,1,0,teens,,,\n",
    "cv-valid-test/cv-valid-test/sample-0.mp3": "",
    "cv-valid-test/cv-valid-test/sample-1.mp3": "",
}
RAVDESS = {"Actor_12/03-01-08-01-02-01-12.wav": "", "Actor_01/03-01-02-01-01-01-01.wav": ""}
AIR_BENCH = {
    "Chat/Chat_meta.json": json.dumps(
        [
            {"uniq_id": 7, "task_name": "speech_QA", "dataset_name": "d", "path": "a.wav", "question": "Who?",
             "answer_gt": "A nurse.", "meta_info": "a call"},
            {"uniq_id": 8, "task_name": "sound_QA", "dataset_name": "d", "path": "b.wav"},
        ]
    ),
    "Chat/speech_QA_d/a.wav": "",
}  # fmt: skip
LISTED = {"test.jsonl": '{"id": "1", "path": "a.wav", "text": "打开 wechat"}\n', "a.wav": ""}

LAYOUTS = {
    "librispeech-test-clean": (LIBRISPEECH, [("61-70968-0000", "HE BEGAN"), ("61-70968-0001", "GIVE NOT SO EARNEST")]),
    "aishell1": (AISHELL1, [("BAC009S0764W0121", "甚至 出现 交易")]),
    "aishell1-gender": (AISHELL1, [("BAC009S0764W0121", "male")]),
    "aishell2-ios": (AISHELL2, [("IT0011W0001", "换一首歌")]),
    "wenetspeech-test-net": (WENETSPEECH, [("b_S0", "怎么样"), ("b_S1", "好吧")]),
    "common-voice-15-en": (COMMON_VOICE, [("common_voice_en_1", 'He said "no"')]),
    "fleurs-zh": (FLEURS, [("10020", "这 并 非")]),
    "speechio-01": (SPEECHIO, [("x_0001", "本期节目")]),
    "covost2-en-de": (COVOST2, [("cv_1", "Guten Tag")]),
    "asru-codeswitching": (LISTED, [("1", "打开 wechat")]),
    "meld": (MELD, [("dia0_utt0", "happy")]),
    "esc50": (ESC50, [("1-1-A-20", "cry"), ("2-2-A-3", "other")]),
    "esc50-sounds": (ESC50, [("1-1-A-20", "crying baby"), ("2-2-A-3", "cow")]),
    "vocalsound": (VOCALSOUND, [("f0003_0_throatclearing", "throat clearing")]),
    "kaggle-common-voice-gender": (KAGGLE, [("sample-0", "male"), ("sample-1", None)]),
    "kaggle-common-voice-age": (KAGGLE, [("sample-0", "adult"), ("sample-1", None)]),
    "ravdess-gender": (RAVDESS, [("03-01-02-01-01-01-01", "male"), ("03-01-08-01-02-01-12", "female")]),
    "ravdess-emotion": (RAVDESS, [("03-01-02-01-01-01-01", "neutral"), ("03-01-08-01-02-01-12", "surprise")]),
    "air-bench-chat-speech": (AIR_BENCH, [("7", "A nurse.")]),
}
UNREAD = {
    "aishell1": {"resource_aishell/speaker.info", "data_aishell/wav/train/S0002/BAC009S0002W0122.wav"},
    "aishell1-gender": {"data_aishell/wav/train/S0002/BAC009S0002W0122.wav"},
}
"""Files of other parts."""


def unpacked(root, name, without=""):
    """The miniature archive of a benchmark under a data root, one file left out."""
    benchmark = BENCHMARKS[name]
    for path, content in LAYOUTS[name][0].items():
        if path != without:
            place = benchmark.place(root) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content, encoding="utf-8")
    return replace(benchmark, count=len(LAYOUTS[name][1]) if benchmark.count else None), benchmark.place(root)


def truth(benchmark, clip):
    return clip.labels.get(benchmark.label_set) if benchmark.target == "label" else getattr(clip, benchmark.target)


@pytest.mark.parametrize("name", LAYOUTS)
def test_clips_come_sorted_with_their_truth_and_their_file(tmp_path, name):
    benchmark, folder = unpacked(tmp_path, name)
    clips = benchmark.read(folder)
    assert [(clip.id, truth(benchmark, clip)) for clip in clips] == LAYOUTS[name][1]
    assert all(Path(clip.path).is_relative_to(folder) and Path(clip.path).is_file() for clip in clips)


@pytest.mark.parametrize("name", LAYOUTS)
def test_any_missing_file_of_the_test_part_is_reported_in_one_line(tmp_path, name):
    for number, lost in enumerate(set(LAYOUTS[name][0]) - UNREAD.get(name, set())):
        benchmark, folder = unpacked(tmp_path / str(number), name, without=lost)
        if name.startswith("ravdess"):  # any part of it is read
            assert len(benchmark.read(folder)) == 1
            continue
        with pytest.raises(InputError, match=name) as refused:
            benchmark.read(folder)
        assert "\n" not in str(refused.value) and benchmark.home in str(refused.value)


@pytest.mark.parametrize("name", ["librispeech-test-clean", "esc50", "meld"])
def test_a_count_that_is_not_the_published_one_is_reported(tmp_path, name):
    _, folder = unpacked(tmp_path, name)
    with pytest.raises(InputError, match=rf"{len(LAYOUTS[name][1])} clips .* counts {BENCHMARKS[name].count}"):
        BENCHMARKS[name].read(folder)


def test_a_missing_recording_is_named(tmp_path):
    benchmark, folder = unpacked(tmp_path, "librispeech-test-clean", "test-clean/61/70968/61-70968-0001.flac")
    with pytest.raises(InputError, match=r"1 of 2 audio files are missing, the first is .*61-70968-0001\.flac"):
        benchmark.read(folder)


def test_inner_archives_that_are_still_packed_are_reported(tmp_path):
    benchmark, folder = unpacked(tmp_path, "aishell1", "data_aishell/wav/test/S0764/BAC009S0764W0121.wav")
    with pytest.raises(InputError, match=r"wav/\*\.tar\.gz"):
        benchmark.read(folder)


def test_a_list_that_is_cut_off_is_reported(tmp_path):
    benchmark, folder = unpacked(tmp_path, "wenetspeech-test-net")
    path = folder / "WenetSpeech.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="is cut off"):
        benchmark.read(folder)


def test_a_list_with_other_columns_is_reported(tmp_path):
    benchmark, folder = unpacked(tmp_path, "esc50")
    (folder / "meta" / "esc50.csv").write_text("file,label\na.wav,dog\n")
    with pytest.raises(InputError, match="has no column 'filename'"):
        benchmark.read(folder)


def test_a_row_without_a_field_is_reported(tmp_path):
    benchmark, folder = unpacked(tmp_path, "air-bench-chat-speech")
    (folder / "Chat" / "Chat_meta.json").write_text('[{"task_name": "speech_QA"}]')
    with pytest.raises(InputError, match=r"not as published.*'uniq_id'"):
        benchmark.read(folder)


def test_stretches_speakers_and_durations_are_those_of_the_lists(tmp_path):
    def first(name):
        benchmark, folder = unpacked(tmp_path / name, name)
        return benchmark.read(folder)[0]

    stretch = first("wenetspeech-test-net")
    assert (stretch.start, stretch.end) == (0, 0.5)
    assert first("fleurs-zh").duration == 2
    speakers = {"librispeech-test-clean": "61", "aishell2-ios": "T0011", "meld": "Mark", "vocalsound": "f0003"}
    assert {name: first(name).speaker for name in speakers} == speakers


def test_a_label_without_a_place_among_ours_is_kept_aside(tmp_path):
    benchmark, folder = unpacked(tmp_path, "kaggle-common-voice-age")
    assert [clip.extra.get("told") for clip in benchmark.read(folder)] == [None, "teens"]


def test_sound_that_was_taken_out_of_the_videos_is_read_first(tmp_path):
    benchmark, folder = unpacked(tmp_path, "meld")
    (folder / "output_repeated_splits_test" / "dia0_utt0.wav").touch()
    assert benchmark.read(folder)[0].path.endswith(".wav")

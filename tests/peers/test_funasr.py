"""SenseVoice and emotion2vec: their tags, and tiny random ones of the classes that `funasr` builds, where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import yaml
from model.tiny import noise

from osum.audio import SAMPLE_RATE
from osum.errors import CheckpointError, InputError, TaskError
from osum.peers import open_recogniser
from osum.peers.funasr import read_answer
from osum.peers.recogniser import Options, Question, Recogniser
from osum.tasks import EMOTIONS
from osum.utterance import Utterance

pytestmark = pytest.mark.filterwarnings("default")  # funasr's own are many

TAGS = ("<|zh|>", "<|yue|>", "<|HAPPY|>", "<|EMO_UNKNOWN|>", "<|Speech|>", "<|Laughter|>", "<|woitn|>")
NAMES = ["生气/angry", "厌恶/disgusted", "恐惧/fearful", "开心/happy", "中立/neutral", "其他/other"]
NAMES += ["难过/sad", "吃惊/surprised", "<unk>"]
SENSE_VOICE: dict[str, Any] = {
    "model": "SenseVoiceSmall",
    "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
    "encoder": "SenseVoiceEncoderSmall",
    "encoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 32, "num_blocks": 2, "tp_blocks": 1, "kernel_size": 11,
        "sanm_shfit": 0, "selfattention_layer_type": "sanm", "input_layer": "pe", "normalize_before": True,
        "pos_enc_class": "SinusoidalPositionEncoder",
    },
    "frontend": "WavFrontend",
    "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": 80, "lfr_m": 7, "lfr_n": 6, "cmvn_file": None},
    "tokenizer": "SentencepiecesTokenizer",
    "tokenizer_conf": {"bpemodel": None, "unk_symbol": "<unk>"},
}  # fmt: skip
EMOTION2VEC: dict[str, Any] = {
    "model": "Emotion2vec",
    "model_conf": {
        "depth": 1, "num_heads": 2, "embed_dim": 16, "mlp_ratio": 2.0, "norm_eps": 1e-5, "norm_affine": True,
        "encoder_dropout": 0.0, "post_mlp_drop": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
        "dropout_input": 0.0, "start_drop_path_rate": 0.0, "end_drop_path_rate": 0.0, "layer_norm_first": False,
        "end_of_block_targets": False, "normalize": True,
        "modalities": {"audio": {
            "type": "AUDIO", "prenet_depth": 1, "model_depth": 1, "prenet_layerdrop": 0.0, "prenet_dropout": 0.0,
            "start_drop_path_rate": 0.0, "end_drop_path_rate": 0.0, "num_extra_tokens": 2, "local_grad_mult": 1.0,
            "init_extra_token_zero": True, "use_alibi_encoder": True, "alibi_scale": 1.0, "learned_alibi": False,
            "alibi_max_pos": None, "learned_alibi_scale": True, "learned_alibi_scale_per_head": True,
            "learned_alibi_scale_per_layer": False, "num_alibi_heads": 2, "extractor_mode": "layer_norm",
            "feature_encoder_spec": "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2", "conv_pos_depth": 2,
            "conv_pos_width": 6, "conv_pos_groups": 2, "conv_pos_pre_ln": False, "decoder": None,
        }},
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>"},
}  # fmt: skip


def write(folder: Path, config: dict[str, Any], **sizes: int) -> Path:
    """Config and random weights."""
    tables = pytest.importorskip("funasr.register").tables
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf8")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tables.model_classes[config["model"]](**{**config, **config["model_conf"], **sizes})
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    torch.save(model.state_dict(), folder / "model.pt")
    return folder


@pytest.fixture(scope="module")
def sense_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("sense-voice")
    (folder / "text.txt").write_text("a b c d e f g h\n" * 20)
    sentencepiece.SentencePieceTrainer.Train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "bpe"), vocab_size=30, hard_vocab_limit=False,
        user_defined_symbols=TAGS, minloglevel=2,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "bpe.model"))
    return write(folder, SENSE_VOICE, input_size=560, vocab_size=pieces.GetPieceSize())


@pytest.fixture(scope="module")
def emotion2vec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emotion2vec")
    (folder / "tokens.txt").write_text("\n".join(NAMES) + "\n", "utf8")
    return write(folder, EMOTION2VEC, vocab_size=len(NAMES))


@pytest.fixture(scope="module")
def voice(sense_voice: Path) -> Recogniser:
    return open_recogniser(f"funasr:{sense_voice}")


def test_sense_voice_writes_what_funasr_gives(voice: Recogniser, noises: list[Utterance]) -> None:
    samples = [soundfile.read(noises[at].path, dtype="float32")[0] for at in (0, 2)]
    stock = voice._model.generate(input=samples, language="zh", use_itn=False)  # type: ignore[attr-defined]
    one, missing, two, _ = voice.recognise(noises, Question("ASR", language="zh"))
    assert [one.raw, two.raw] == [found["text"] for found in stock] and one.raw != two.raw
    assert one.text is not None and "<|" not in one.text and missing.error


@pytest.mark.parametrize(
    ("task", "raw", "said"),
    [
        ("SER", "<|zh|><|HAPPY|><|Speech|><|woitn|>sad", "happy"),
        ("SER", "<|zh|><|EMO_UNKNOWN|><|Speech|><|woitn|>ah", None),
        ("VED", "<|zh|><|HAPPY|><|Speech|><|woitn|>ah", "none"),
        ("VED-only", "<|zh|><|HAPPY|><|Laughter|><|woitn|>ah", "laugh"),
        ("VED", "<|zh|><|HAPPY|><|BGM|><|woitn|>", "other"),
        ("LID", "<|yue|><|HAPPY|><|Speech|><|woitn|>ah", None),
        ("LID", "<|en|><|HAPPY|><|Speech|><|woitn|>ah", "en"),
    ],
)
def test_tags_are_read(task: str, raw: str, said: str | None) -> None:
    answer = read_answer({"text": raw}, task)
    assert (answer.raw, answer.said, bool(answer.problems)) == (raw, said, said is None)


def test_a_transcript_has_no_tags() -> None:
    assert read_answer({"text": "<|en|><|SAD|><|Speech|><|woitn|>oh  no<|SAD|>"}, "ASR").text == "oh no"


def test_emotions_are_summed_over_our_labels_and_the_unknown_left_out() -> None:
    answer = read_answer({"labels": NAMES, "scores": [0.1, 0, 0, 0.2, 0, 0.1, 0, 0, 0.6]}, "SER")
    assert (answer.raw, answer.said, answer.label) == ("<unk>", None, "happy")
    assert answer.distribution is not None and sum(answer.distribution.values()) == pytest.approx(1)
    assert (answer.distribution["happy"], answer.distribution["anger"]) == pytest.approx((0.5, 0.25))


def test_emotion2vec_gives_every_emotion_a_probability(emotion2vec: Path, noises: list[Utterance]) -> None:
    model = open_recogniser(f"funasr:{emotion2vec}")
    assert model.tasks == {"SER", "SER-only"} and model.describe()["dtype"] == "float32"
    one, missing, two, _ = model.recognise(noises, Question("SER"))
    for answer in (one, two):
        assert answer.distribution is not None and tuple(answer.distribution) == EMOTIONS.labels
        assert sum(answer.distribution.values()) == pytest.approx(1) and answer.raw in NAMES
        assert answer.label == max(answer.distribution, key=answer.distribution.__getitem__)
    assert one.distribution != two.distribution and missing.error


def test_what_it_would_ignore_and_cannot_answer_is_reported(
    voice: Recogniser, noises: list[Utterance], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "long.wav", noise(31 * SAMPLE_RATE), SAMPLE_RATE)
    long, one = voice.recognise([Utterance("long", str(tmp_path / "long.wav")), noises[0]], Question("ASR"))
    assert long.error and "lasts 31.0 s" in long.error and one.error is None
    with pytest.raises(TaskError, match="knows zh, en, yue, ja, ko, not 'fr'"):
        voice.recognise(noises, Question("ASR", language="fr"))


def test_what_cannot_be_opened_is_reported(emotion2vec: Path, tmp_path: Path) -> None:
    for path in emotion2vec.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = torch.load(tmp_path / "model.pt")
    torch.save({name: value for name, value in weights.items() if not name.startswith("proj")}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"2 tensors are missing in its model\.pt"):
        open_recogniser(f"funasr:{tmp_path}")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**EMOTION2VEC, "model": "Emotion3vec"}))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        open_recogniser(f"funasr:{tmp_path}")
    with pytest.raises(InputError, match="funasr runs in float32 here, not in bfloat16"):
        open_recogniser(f"funasr:{tmp_path}", Options(dtype="bfloat16"))

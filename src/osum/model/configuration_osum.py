"""OsumConfig: the architecture of one checkpoint, and every size and id that follows from it.

Knows nothing of weights, tasks or decoding. One class describes both releases and our own family:
OSUM (specification 1, 2.3), OSUM-EChat (echat 1) and `nano`.
"""

from __future__ import annotations

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, Qwen2Config
from transformers.configuration_utils import SubConfigSpec

Layout = Literal["prompt_first", "speech_first", "chatml"]
"""Order of a request: the OSUM release's bare `prompt speech answer`; ours, ChatML with speech before
the prompt, so that one audio prefix serves every question; OSUM-EChat's ChatML, prompt before speech."""


@strict
class OsumAudioConfig(PreTrainedConfig):
    """Whisper-style encoder over log-mel frames (specification 1.1, 1.2)."""

    model_type = "osum_audio_encoder"

    num_mel_bins: int = 80
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    max_source_positions: int = 1500
    """Rows of the position table; one row is one encoder frame (20 ms)."""
    dropout: float = 0.1
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    sampling_rate: int = 16_000
    """Hz."""
    hop_length: int = 160
    """Samples per mel frame."""
    initializer_range: float = 0.02

    @property
    def max_samples(self) -> int:
        """Longest audio the encoder takes, in samples."""
        return 2 * self.max_source_positions * self.hop_length


@strict
class OsumAdaptorConfig(PreTrainedConfig):
    """Causal convolutions (strides 1, 2, 2), a small transformer, a projection (specification 1.3)."""

    model_type = "osum_adaptor"

    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 2560
    max_source_positions: int = 5000
    """Rows of the position table; one row is one audio token (80 ms)."""
    dropout: float = 0.1
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02


@strict
class OsumConfig(PreTrainedConfig):
    """Encoder, adaptor and Qwen2 language model of one checkpoint.

    Ids live in one joint space: text ids first, then the rows of the speech table (codes, their
    terminator, begin and end of input audio), then the audio placeholder, which has no row at all.

    Example:
        >>> config = OsumConfig.preset("osum")
        >>> config.num_audio_tokens(16_000)
        13
    """

    model_type = "osum"
    sub_configs_defaults = {
        "audio_config": SubConfigSpec(config_class=OsumAudioConfig),
        "adaptor_config": SubConfigSpec(config_class=OsumAdaptorConfig),
        "text_config": SubConfigSpec(config_class=Qwen2Config),
    }
    sub_configs = {"audio_config": OsumAudioConfig, "adaptor_config": OsumAdaptorConfig, "text_config": Qwen2Config}

    # Given as a mapping or a configuration; always a configuration afterwards.
    audio_config: Any = None
    adaptor_config: Any = None
    text_config: Any = None
    layout: str = "prompt_first"
    num_speech_ids: int = 4097
    """Speech codes and their terminator; 0 where a family never speaks."""
    speech_output: bool = False
    """Whether a head predicts speech ids (OSUM-EChat)."""
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02

    @property
    def vocab_size(self) -> int:
        """Width of the logits: text ids, and speech ids where a head predicts them."""
        return self.text_config.vocab_size + (self.num_speech_ids if self.speech_output else 0)

    @property
    def num_speech_rows(self) -> int:
        """Rows of the speech table: codes, terminator, begin and end of input audio."""
        return self.num_speech_ids + 2

    @property
    def audio_bos_token_id(self) -> int:
        """Begin of input audio (row 4097 of the release)."""
        return self.text_config.vocab_size + self.num_speech_ids

    @property
    def audio_eos_token_id(self) -> int:
        """End of input audio (row 4098 of the release)."""
        return self.audio_bos_token_id + 1

    @property
    def audio_token_id(self) -> int:
        """Placeholder that one audio embedding replaces; beyond every table."""
        return self.audio_bos_token_id + 2

    @property
    def max_samples(self) -> int:
        """Longest audio of one request, in samples: the shorter of the two position tables decides."""
        samples_per_token = 8 * self.audio_config.hop_length
        return min(self.audio_config.max_samples, self.adaptor_config.max_source_positions * samples_per_token)

    def num_audio_tokens(self, num_samples: int) -> int:
        """Audio tokens (LLM positions) of a waveform of `num_samples` samples."""
        return audio_token_length(num_samples // self.audio_config.hop_length)

    @classmethod
    def preset(cls, name: str) -> OsumConfig:
        """The configuration of a released size: `osum`, `echat`, or our own `nano`.

        Raises:
            KeyError: no such preset; the message lists the known ones.
        """
        if name not in PRESETS:
            raise KeyError(f"preset {name!r} is unknown: the presets are {', '.join(PRESETS)}")
        return cls(**PRESETS[name])


def encoder_length(num_frames: Any) -> Any:
    """Encoder frames of `num_frames` mel frames (int or integer tensor): the second convolution halves, upwards."""
    return (num_frames + 1) // 2


def audio_token_length(num_frames: Any) -> Any:
    """Audio tokens of `num_frames` mel frames (int or integer tensor): 12.5 tokens a second (specification 1.3)."""
    return encoder_length(encoder_length(encoder_length(num_frames)))


def round_up(number: int, multiple: int) -> int:
    """The least multiple that is not below `number`: tensors of few, even sizes need few kernels."""
    return -(-number // multiple) * multiple


IGNORED = -100
"""Label of a token that is not scored, as in transformers."""
_ROPE = {"rope_type": "default", "rope_theta": 1_000_000.0}
PRESETS: dict[str, dict[str, Any]] = {
    "osum": {
        "audio_config": {},
        "adaptor_config": {},
        "text_config": {
            "vocab_size": 152_064,
            "hidden_size": 3584,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "intermediate_size": 18_944,
            "rope_parameters": _ROPE,
        },
    },
    "echat": {
        "audio_config": {"max_source_positions": 30_000},
        "adaptor_config": {},
        "text_config": {
            "vocab_size": 151_936,
            "hidden_size": 2048,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "intermediate_size": 11_008,
            "rope_parameters": _ROPE,
            "tie_word_embeddings": True,
        },
        "layout": "chatml",
        "speech_output": True,
        "tie_word_embeddings": True,
    },
    "nano": {
        "audio_config": {
            "hidden_size": 256,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "intermediate_size": 1024,
            "max_source_positions": 750,
            "dropout": 0.0,
        },
        "adaptor_config": {
            "num_hidden_layers": 2,
            "intermediate_size": 640,
            "max_source_positions": 188,
            "dropout": 0.0,
        },
        "text_config": {
            "vocab_size": 5120,
            "hidden_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 512,
            "max_position_embeddings": 2048,
            "initializer_range": 0.04,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
            "tie_word_embeddings": True,
        },
        "layout": "speech_first",
        "num_speech_ids": 0,
        "tie_word_embeddings": True,
    },
}


def encoder_sizes(whisper: PreTrainedConfig) -> dict[str, int]:
    """The fields of `OsumAudioConfig` by which our encoder takes the weights of a Whisper's."""
    return {
        "num_mel_bins": whisper.num_mel_bins,
        "hidden_size": whisper.d_model,
        "num_hidden_layers": whisper.encoder_layers,
        "num_attention_heads": whisper.encoder_attention_heads,
        "intermediate_size": whisper.encoder_ffn_dim,
        "max_source_positions": whisper.max_source_positions,
    }

"""EngineModel: what the engine needs of a model. Ours has it, and so has each model of another class that osum runs.

Shapes: A clips, M mel bins, F frames, T audio tokens, N ids, D width.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class EngineModel(Protocol):
    """A language model of Qwen2's layers behind an encoder of sound."""

    lm_head: Any
    speech_head: Any
    """Scores speech codes; never asked of a model whose configuration has no `speech_output`."""

    @property
    def config(self) -> Any:
        """Holds `text_config`, `audio_token_id`, `max_samples`, `layout`, `speech_output` and `num_audio_tokens`."""

    @property
    def model(self) -> Any:
        """Holds `language_model`, a Qwen2."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def dtype(self) -> torch.dtype:
        """What it calculates in."""

    @property
    def num_text_ids(self) -> int:
        """Ids that the language model's head scores."""

    def embed_ids(self, input_ids: Tensor) -> Tensor:
        """Ids (N,) to embeddings (N, D); a placeholder of audio gets some row, to be replaced."""

    def get_audio_features(self, input_features: Tensor, feature_attention_mask: Tensor) -> Any:
        """Log-mel (A, M, F) and its mask (A, F) to one (T_i, D) for each clip."""

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As in transformers."""

"""Speech codes <-> waveform. Knows nothing of the language model that writes the codes."""

from osum.speech.checkpoint import load_synthesizer, load_voice_encoder
from osum.speech.convert import convert_speech
from osum.speech.cosyvoice import CosyVoice, CosyVoiceConfig, StreamConfig
from osum.speech.small_voice import SmallVoice, SmallVoiceConfig
from osum.speech.streamfm import StreamFm, StreamFmConfig
from osum.speech.synthesizer import Token2Wav, stream
from osum.speech.voice import Voice, load_voice
from osum.speech.voice_encoder import VoiceEncoder

__all__ = [
    "CosyVoice",
    "CosyVoiceConfig",
    "SmallVoice",
    "SmallVoiceConfig",
    "StreamConfig",
    "StreamFm",
    "StreamFmConfig",
    "Token2Wav",
    "Voice",
    "VoiceEncoder",
    "convert_speech",
    "load_synthesizer",
    "load_voice",
    "load_voice_encoder",
    "stream",
]

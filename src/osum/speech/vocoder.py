"""A mel spectrogram to a waveform: the HiFT vocoder of CosyVoice, whose harmonics come from a sine source.

Knows nothing of codes and of streaming. Module names are those of `hift.pt`.
Shapes: B clips, M mel bins, F mel frames, S samples, C channels, K harmonics with the fundamental.
Sources: HiFTNet (arXiv 2309.09493); specification of token2wav 6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from osum.speech.features import MelConfig

LEAKY_SLOPE = 0.1
NUM_F0_LAYERS = 5
LARGEST = math.log(100.0)
"""Logarithm of the largest magnitude of a spectrum."""


@dataclass(frozen=True)
class VocoderConfig:
    """Sizes of HiFT."""

    channels: int = 512
    """At the rate of the mel; each upsampling halves them."""
    upsample_rates: tuple[int, ...] = (8, 8)
    upsample_kernels: tuple[int, ...] = (16, 16)
    kernels: tuple[int, ...] = (3, 7, 11)
    """Of the residual blocks behind each upsampling, whose mean is taken."""
    dilations: tuple[int, ...] = (1, 3, 5)
    source_kernels: tuple[int, ...] = (7, 11)
    """Of the residual block that the source passes before it joins, one for each upsampling."""
    fft_size: int = 16
    """Of the inverse short-time Fourier transform at the end."""
    fft_hop: int = 4
    f0_channels: int = 512
    num_harmonics: int = 8
    """Above the fundamental."""
    sine_amplitude: float = 0.1
    noise_amplitude: float = 0.003
    """Of voiced samples; unvoiced ones are a third of the sine's amplitude of noise."""
    voiced_above: float = 10.0
    """Hz."""
    peak: float = 0.99
    """Largest sample of the waveform."""


def fold_weight_norms(module: nn.Module) -> None:
    """Replace every weight norm by the weight it makes: the same function, faster; for use, not for training."""
    for part in module.modules():
        if nn.utils.parametrize.is_parametrized(part, "weight"):
            nn.utils.parametrize.remove_parametrizations(part, "weight")


class Snake(nn.Module):
    """A periodic activation, x + sin^2(a x) / a (arXiv 2006.08195), with one a for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        alpha = self.alpha[:, None]
        return x + (alpha * x).sin().square() / (alpha + 1e-9)


class VocoderResidualBlock(nn.Module):
    """Pairs of convolutions, the first of each dilated, every one behind an activation."""

    def __init__(
        self, channels: int, kernel: int, dilations: tuple[int, ...], activation: Callable[[int], nn.Module] = Snake
    ) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_same_conv(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_same_conv(channels, kernel, 1) for _ in dilations)
        self.activations1, self.activations2 = (
            nn.ModuleList(activation(channels) for _ in dilations) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        for first, conv1, second, conv2 in zip(
            self.activations1, self.convs1, self.activations2, self.convs2, strict=True
        ):
            x = x + conv2(second(conv1(first(x))))
        return x


def _same_conv(channels: int, kernel: int, dilation: int) -> nn.Module:
    padding = (kernel - 1) * dilation // 2
    return weight_norm(nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding))


class F0Predictor(nn.Module):
    """Convolutions from mel to the fundamental frequency of each frame."""

    def __init__(self, num_bins: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (num_bins, *[channels] * (NUM_F0_LAYERS - 1)):
            layers += [weight_norm(nn.Conv1d(inputs, channels, 3, padding=1)), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, M, F) to Hz (B, F)."""
        return self.classifier(self.condnet(mel).transpose(1, 2))[..., 0].abs()


class HarmonicSource(nn.Module):
    """A sine for each harmonic of F0, and noise, mixed to one waveform (NSF, arXiv 1904.12088)."""

    def __init__(self, sampling_rate: int, hop_length: int, config: VocoderConfig) -> None:
        super().__init__()
        self.sampling_rate, self.hop_length, self.config = sampling_rate, hop_length, config
        self.l_linear = nn.Linear(config.num_harmonics + 1, 1)

    def forward(self, f0: Tensor, phases: Tensor, noise: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """The source of frames with the fundamental `f0`, continued where an earlier piece ended.

        Args:
            f0: (B, F) Hz.
            phases: (B, K) where each harmonic starts, in radians; 0 for the fundamental.
            noise: (B, K, S) standard normal, S = F * hop.
            turns: (B,) float64 periods of the fundamental before this piece; 0 at the beginning.

        Returns:
            The source (B, 1, S), and the periods at its end, to within a whole number.
        """
        waves, turns = self.harmonics(f0, phases, noise, turns)
        return self.l_linear(waves.transpose(1, 2)).tanh().transpose(1, 2), turns

    def harmonics(self, f0: Tensor, phases: Tensor, noise: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """The unmixed waves (B, K, S) and the periods at their end. Periods are summed in float64: 30 s in float32
        would turn the ninth harmonic by 0.01 rad."""
        hz = f0.repeat_interleave(self.hop_length, dim=1)  # (B, S)
        periods = turns[:, None] + (hz.double() / self.sampling_rate).cumsum(1)
        order = torch.arange(1, phases.shape[1] + 1, device=f0.device)[:, None]
        angles = (periods[:, None] * order).frac().float() * (2 * math.pi) + phases[..., None]  # (B, K, S)
        voiced = (hz > self.config.voiced_above)[:, None].to(f0)
        amplitude = self.config.sine_amplitude
        hiss = voiced * self.config.noise_amplitude + (1 - voiced) * amplitude / 3
        return amplitude * angles.sin() * voiced + hiss * noise, periods[:, -1].frac()


class Vocoder(nn.Module):
    """HiFT: convolutions that raise the rate, joined by the source, and an inverse Fourier transform.

    Example:
        >>> vocoder = Vocoder(VocoderConfig(channels=32, f0_channels=16), MelConfig()).eval()
        >>> mel = torch.zeros(1, 80, 10)
        >>> vocoder.decode(mel, torch.zeros(1, 1, 2560)).shape
        torch.Size([1, 2560])
    """

    def __init__(self, config: VocoderConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.f0_predictor = F0Predictor(mel.num_bins, config.f0_channels)
        self.m_source = HarmonicSource(mel.sampling_rate, mel.hop_length, config)
        bins = config.fft_size + 2  # real and imaginary parts of fft_size / 2 + 1 bins
        widths = [config.channels // 2**level for level in range(len(config.upsample_rates) + 1)]
        self.conv_pre = weight_norm(nn.Conv1d(mel.num_bins, config.channels, 7, padding=3))
        self.ups, self.source_downs, self.source_resblocks, self.resblocks = (nn.ModuleList() for _ in range(4))
        for level, (inputs, width) in enumerate(pairwise(widths)):
            rate, kernel = config.upsample_rates[level], config.upsample_kernels[level]
            up = nn.ConvTranspose1d(inputs, width, kernel, rate, padding=(kernel - rate) // 2)
            self.ups.append(weight_norm(up))
            self.source_downs.append(_downsampled(bins, width, math.prod(config.upsample_rates[level + 1 :])))
            self.source_resblocks.append(VocoderResidualBlock(width, config.source_kernels[level], config.dilations))
            self.resblocks.extend(VocoderResidualBlock(width, kernel, config.dilations) for kernel in config.kernels)
        self.conv_post = weight_norm(nn.Conv1d(widths[-1], bins, 7, padding=3))
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(config.fft_size), persistent=False)

    def f0(self, mel: Tensor) -> Tensor:
        """The fundamental of each frame in Hz, (B, M, F) to (B, F)."""
        return self.f0_predictor(mel)

    def decode(self, mel: Tensor, source: Tensor) -> Tensor:
        """Mel (B, M, F) and its source (B, 1, S) to the waveform (B, S), within `config.peak`."""
        return self.unlimited(mel, source).clamp(-self.config.peak, self.config.peak)

    def unlimited(self, mel: Tensor, source: Tensor) -> Tensor:
        """As `decode`, before the limiter."""
        spectrum = self.source_spectrum(source)
        x = self.conv_pre(mel)
        num_kernels = len(self.config.kernels)
        for level, up in enumerate(self.ups):
            x = up(functional.leaky_relu(x, LEAKY_SLOPE))
            if level == len(self.ups) - 1:
                x = functional.pad(x, (1, 0), mode="reflect")  # the spectrum of S samples has one frame more
            x = x + self.source_resblocks[level](self.source_downs[level](spectrum))
            blocks = self.resblocks[level * num_kernels : (level + 1) * num_kernels]
            x = torch.stack([block(x) for block in blocks]).mean(0)
        return self.inverse_fourier(self.conv_post(functional.leaky_relu(x)))

    def source_spectrum(self, source: Tensor) -> Tensor:
        """(B, 1, S) to real, then imaginary parts (B, fft + 2, S / hop + 1)."""
        config = self.config
        spectrum = torch.stft(source[:, 0], config.fft_size, config.fft_hop, window=self.window, return_complex=True)
        return torch.cat([spectrum.real, spectrum.imag], dim=1)

    def inverse_fourier(self, x: Tensor) -> Tensor:
        """Logarithms of magnitudes, then angles before their sine, (B, fft + 2, S / hop + 1), to (B, S)."""
        logarithm, angle = x.chunk(2, dim=1)
        # The bound stands before the exponential: behind an infinite one no gradient is a number.
        spectrum = torch.polar(logarithm.clamp(max=LARGEST).exp(), angle.sin())
        return torch.istft(spectrum, self.config.fft_size, self.config.fft_hop, window=self.window)


def _downsampled(inputs: int, outputs: int, rate: int) -> nn.Module:
    """The source's spectrum at the rate of a level."""
    if rate == 1:
        return nn.Conv1d(inputs, outputs, 1)
    return nn.Conv1d(inputs, outputs, 2 * rate, rate, padding=rate // 2)

"""Speech codes <-> waveform. Knows nothing of the language model that writes the codes."""

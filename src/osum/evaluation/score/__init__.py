"""From kept answers to figures, without a model; and the calibration of a checkpoint."""

"""The data engine: steps as plain functions over rows, and plans of them, in a loop or on Ray. Knows no training."""

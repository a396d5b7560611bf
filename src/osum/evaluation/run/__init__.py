"""Runs: one model's answers to one test set, kept on disk."""

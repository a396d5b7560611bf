"""Test sets: what is right, and where their files are."""

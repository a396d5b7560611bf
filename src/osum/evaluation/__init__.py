"""Test sets, runs over them, and what is counted from the answers."""

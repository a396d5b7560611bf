"""Models that an evaluation can ask, ours among them, behind one interface."""

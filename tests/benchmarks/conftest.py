import sys
from pathlib import Path

# The benchmarks are scripts, not a package: they find each other next to themselves.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

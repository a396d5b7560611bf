import sys
from pathlib import Path

# The benchmarks are scripts, not a package: they find each other beside themselves.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

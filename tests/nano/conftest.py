import sys
from pathlib import Path

# The card takes its tables from the benchmarks, which are scripts and no package.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

"""Benchmarks are scripts, no package that is installed: their folder's parent goes on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

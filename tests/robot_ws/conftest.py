"""The nodes' package is on the path, as `tandem up` puts it there."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "robot_ws" / "src" / "tandem_nodes"))

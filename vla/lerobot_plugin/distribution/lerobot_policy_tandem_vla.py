"""LeRobot imports this module, by its distribution's name, and so learns `--policy.type=tandem_vla`."""

from vla.lerobot_plugin.configuration_tandem_vla import TandemVLAConfig

__all__ = ["TandemVLAConfig"]

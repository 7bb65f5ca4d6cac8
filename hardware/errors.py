"""The errors that a person can act on: the command line prints them without a traceback."""


class TandemError(Exception):
    """What was wrong, where, and (`fix`) what would be right. `exit_code` is the process's."""

    exit_code = 1

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(f"{problem}\n  → {fix}" if fix else problem)
        self.problem = problem
        self.fix = fix


class BadInput(TandemError):
    """The user's file, folder, flag or device is not usable as it is."""

    exit_code = 2


class GateFailed(TandemError):
    """The input was readable, but a measured quality is beyond its limit, so no result is given."""

    exit_code = 3


class FrameError(TandemError, ValueError):
    """Two poses were composed whose inner frame names differ."""

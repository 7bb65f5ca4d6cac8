"""A process that keeps Isaac Lab's side of the pipe: joints are where they are told, things stay where they are put."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3]))

from twin.sim.isaac_lab_worker import read_message, write_message


def main() -> None:
    settings: dict = {}
    state: dict[str, np.ndarray] = {}
    while (message := read_message(sys.stdin.buffer)) is not None:
        head, arrays = message
        if head["op"] == "open":
            settings = head
            n, joints, things = head["n_envs"], len(head["servos"]), len(head["objects"])
            state = {"time_s": np.zeros(n), "q": np.zeros((n, joints)), "dq": np.zeros((n, joints))}
            state |= {"tool": np.zeros((n, 7)), "objects": np.zeros((n, things, 7))}
            state["objects"][:, :, 3] = 1.0
            if not Path(head["usd"]).is_file():
                write_message(sys.stdout.buffer, {"ok": False, "error": "no scene"})
                continue
        elif head["op"] == "reset":
            state["q"][head["envs"]], state["objects"][head["envs"]] = arrays["q"], arrays["objects"]
            state["objects"][head["envs"], :, :3] += arrays["speeds"]  # a second on
            state["time_s"][head["envs"]] = 0.0
        else:
            if np.abs(arrays["goals"]).max() > 1.7:
                write_message(sys.stdout.buffer, {"ok": False, "error": "RuntimeError: the solver diverged"})
                continue
            state["q"] = arrays["goals"]
            state["time_s"] = state["time_s"] + settings["substeps"] * settings["step_s"]
        write_message(sys.stdout.buffer, {"ok": True}, state)


main()

import numpy as np
import pytest

from twin.sim.open import open_simulator
from twin.sim.protocol import Simulator, Start

pytest.importorskip("mujoco_warp")


@pytest.mark.slow
def test_warp_pushes_the_brick_as_far_as_mujoco_does(armless):
    """The same motion in both: single precision and another solver leave 3 mm.

    Warp compiles MuJoCo's kernels for this machine the first time: a minute of a core.
    """
    tracks = []
    for engine in ("mujoco", "mujoco_warp"):
        sim = open_simulator(armless, engine=engine, n_envs=2, control_hz=20.0)
        assert isinstance(sim, Simulator)
        assert sim.engine == engine
        state = sim.reset([Start(q_rad=np.array([0.03, 0.05, 0.02]))] * 2)
        touched = state.touching
        for number in range(10):
            state = sim.step(np.tile([0.03 + 0.008 * (number + 1), 0.05, 0.02, 0.0], (2, 1)))
            touched = touched | state.touching
        assert state.time_s == pytest.approx([0.5, 0.5])
        assert touched.all()
        tracks.append(state.Ts_base_object["brick"][:, :3, 3])
        sim.close()
    assert tracks[0] == pytest.approx(tracks[1], abs=3e-3)
    assert tracks[0][0, 0] > 0.12

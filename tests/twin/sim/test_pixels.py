import numpy as np
import pytest

from hardware.errors import BadInput
from hardware.spatial import Pose
from twin.rasterise.cpu import CpuRasteriser
from twin.sim.cameras import resized
from twin.sim.open import open_simulator
from twin.sim.pixels import SplatPixels
from twin.sim.protocol import Start
from twin.splat import Splat
from twin.splat_motion import moved

SIZE = 96, 72


def reference(sim, pixels, parts, camera, env):
    """Everything moved by its body's pose, drawn at once by the rasteriser."""
    Ts = sim.Ts_world_body[env]
    whole = [moved(part.splat, Ts[part.body, :3, :3], Ts[part.body, :3, 3]) for part in parts]
    placed = sim.scene.cameras[camera]
    T_cam_world = np.linalg.inv(pixels.Ts_world_cam(placed, Ts[None])[0])
    drawn = CpuRasteriser().render(
        Splat.concatenate([*whole, pixels.still]), resized(placed.camera, *SIZE), T_cam_world
    )
    return np.clip(drawn.rgb, 0, 1) * 255


@pytest.fixture(scope="module")
def posed(armed):
    """Two environments: as scanned, and with the arm elsewhere and the brick turned and put away."""
    sim = open_simulator(armed, n_envs=2)
    turned = Pose.from_quat_wxyz("base", "brick", (0.9, 0.1, 0.2, 0.35), (0.3, 0.05, 0.08))
    sim.reset([Start(), Start(q_rad=np.array([0.5, -0.3, 0.2, 0.8, 0.4]), objects={"brick": turned})])
    return sim


@pytest.mark.parametrize("camera", ["scan", "cam_wrist"])
def test_one_pass_draws_what_moving_every_gaussian_would(posed, camera):
    from twin.sim import parts

    pixels = SplatPixels(posed.scene, posed.model, layered=False)
    pictures = pixels.render(camera, *SIZE, posed.Ts_world_body)
    moving = parts.moving(posed.scene, posed.model)
    for env in (0, 1):
        expected = reference(posed, pixels, moving, camera, env)
        assert np.abs(pictures[env] - expected).max() <= 1.0
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 60


def psnr_db(one, other):
    mean_square = ((one.astype(float) - other) ** 2).mean((1, 2, 3))
    return (10 * np.log10(255**2 / mean_square)).min()


def test_layers_by_depth_look_like_one_pass_and_fewer_gaussians_nearly_so(posed):
    Ts = posed.Ts_world_body
    exact = SplatPixels(posed.scene, posed.model, layered=False).render("scan", *SIZE, Ts)
    every = SplatPixels(posed.scene, posed.model, detail_px=0.0).render("scan", *SIZE, Ts)
    assert psnr_db(exact, every) > 40
    assert psnr_db(exact, posed.render("scan", *SIZE)) > 33


def test_what_is_behind_the_still_scene_is_hidden(posed):
    """Under the table the brick would be 100 levels of red; the table's 5 % of transparency leave a tenth of it."""
    under = Pose.from_parts("base", "brick", np.eye(3), (0.4, -0.15, -0.1))
    away = Pose.from_parts("base", "brick", np.eye(3), (0.4, -0.15, -3.0))
    posed.reset([Start(objects={"brick": under}), Start(objects={"brick": away})])
    hidden, gone = posed.render("scan", *SIZE).astype(int)
    assert np.abs(hidden - gone).max() <= 20


def test_a_picture_does_not_depend_on_its_neighbours(posed):
    both = posed.render("cam_wrist", 40, 30)
    assert (posed.render("cam_wrist", 40, 30, envs=[1])[0] == both[1]).all()


def test_a_size_that_is_none_is_refused(posed):
    with pytest.raises(BadInput, match="0 × 10"):
        posed.render("scan", 0, 10)


def test_the_pusher_is_seen(armless):
    sim = open_simulator(armless, n_envs=2)
    sim.reset([Start(q_rad=np.array([0.0, 0.0, 0.05])), Start(q_rad=np.array([0.0, 0.0, 0.55]))])
    near, high = sim.render("scan", *SIZE).astype(int)
    assert (np.abs(near - high).max(-1) > 20).sum() > 20

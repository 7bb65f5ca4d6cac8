"""`tandem twin view`: a twin bundle in, an interactive scene in the browser out."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import trimesh
import tyro
import viser
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import Field

from hardware.config import Config
from hardware.errors import BadInput
from hardware.spatial import quat_wxyz_from_rotation, rotation_from_quat_wxyz
from twin.camera_path import focus, poses, up_axis
from twin.posed_images import PosedImages, View
from twin.render import scene
from twin.splat import Splat

log = logging.getLogger(__name__)

SH_0 = 0.28209479177387814
"""The constant harmonic: a Gaussian's mean colour is 0.5 + SH_0 · sh[0]."""
FAINTEST = 1 / 255
"""Fainter Gaussians are drawn by no rasteriser, so the browser does not get them."""
THUMBNAIL_PX = 160
FRUSTUM_SHARE = 0.1
"""Length of a drawn camera, as a share of its distance to what it looks at."""
AXES_M = 0.1
"""Length of the world's axes where the world is metric."""
TRAINED, HELD_OUT = (60, 110, 200), (235, 140, 30)


class ViewTwin(Config):
    """The splat, its cameras, the mesh and the world's axes in the browser. Ctrl-C ends it."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `tandem twin build` made."""
    host: str = "127.0.0.1"
    """Who may look: 127.0.0.1 is this machine only, 0.0.0.0 is everybody on the network."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Where 8080 is taken, the next free one is used."""


def view(config: ViewTwin) -> int:
    """Serves until Ctrl-C, which is noted rather than raised: an exception in somebody's callback would be lost."""
    is_over = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: is_over.set())
    server = serve(config)
    host = "localhost" if config.host in ("127.0.0.1", "0.0.0.0") else config.host
    log.info("open http://%s:%d in a browser; Ctrl-C ends it", host, server.get_port())
    while not is_over.wait(1.0):
        pass
    server.stop()
    signal.signal(signal.SIGINT, before)
    return 0


def serve(config: ViewTwin) -> viser.ViserServer:
    """Starts the server and puts everything in place. Stop it with `stop()`."""
    splat, posed = scene(config.bundle)
    reach = Reach.of(posed, splat)
    try:
        with socket.socket() as trial:  # viser waits for ever for a server that could not start
            trial.bind((config.host, 0))
        server = viser.ViserServer(host=config.host, port=config.port, label="Tandem twin", verbose=False)
    except OSError as error:
        fix = "--host 127.0.0.1, or an address of this machine"
        reason = "no such address here" if error.errno == errno.EADDRNOTAVAIL else error.strerror or str(error)
        raise BadInput(f"cannot serve on {config.host}: {reason}", fix) from error
    place_start(server, posed, reach)
    add_splat(server, splat)
    add_cameras(server, posed, reach, config.bundle / "work" / "capture" / "frames")
    add_mesh(server, config.bundle / "mesh.ply")
    add_world(server, posed, reach)
    return server


@dataclass(frozen=True, eq=False)
class Reach:
    """What the cameras looked at, and from how far."""

    target: Float[ndarray, 3]
    distance: float

    @classmethod
    def of(cls, posed: PosedImages, splat: Splat) -> Reach:
        """From the cameras; where they do not agree on a target, or there are none, from the Gaussians."""
        Ts_world_cam = poses(posed.views)
        target = focus(Ts_world_cam) if len(posed.views) else None
        if target is None:
            means = splat.means_m.astype(np.float64) if len(splat) else np.zeros((1, 3))
            target = np.median(means, 0)
            return cls(target, max(float(np.median(np.linalg.norm(means - target, axis=1))), 1e-3))
        return cls(target, float(np.median(np.linalg.norm(Ts_world_cam[:, :3, 3] - target, axis=1))))


# ── what is in the scene ────────────────────────────────────────────────────────────────────────────────────────


def place_start(server: viser.ViserServer, posed: PosedImages, reach: Reach) -> None:
    """The first look is the first photo's, from a little further away."""
    up = up_axis(posed)
    server.scene.set_up_direction(up)
    from_where = poses(posed.views)[0, :3, 3] - reach.target if posed.views else np.array([1.0, 1.0, 1.0])
    away = 1.4 * reach.distance * from_where / max(float(np.linalg.norm(from_where)), 1e-9)
    server.initial_camera.up = up
    server.initial_camera.position = reach.target + away
    server.initial_camera.look_at = reach.target


def add_splat(server: viser.ViserServer, splat: Splat) -> None:
    """With a box to show it and a slider for the opacity that a Gaussian needs to be drawn."""
    shown = server.gui.add_checkbox("Splat", True)
    least = server.gui.add_slider("Least opacity", 0.0, 0.95, 0.05, 0.0)
    count = server.gui.add_markdown("")

    def draw() -> viser.GaussianSplatHandle:
        kept = splat.select(splat.opacities >= max(FAINTEST, least.value))
        count.content = f"{len(kept):,} of {len(splat):,} Gaussians"
        return server.scene.add_gaussian_splats(
            "/splat",
            centers=kept.means_m,
            covariances=covariances(kept),
            rgbs=base_colours(kept),
            opacities=kept.opacities[:, None],
            visible=shown.value,
        )

    handle = draw()

    @least.on_update
    def _(_: viser.GuiEvent) -> None:
        nonlocal handle
        handle = draw()

    @shown.on_update
    def _(_: viser.GuiEvent) -> None:
        handle.visible = shown.value


def covariances(splat: Splat) -> Float[ndarray, "N 3 3"]:
    """R diag(s²) Rᵀ, in square units of the world."""
    rotation = rotation_from_quat_wxyz(splat.quats_wxyz)
    factor = rotation * splat.scales_m[:, None, :]
    return factor @ factor.swapaxes(1, 2)


def base_colours(splat: Splat) -> Float[ndarray, "N 3"]:
    """0 … 1, what a Gaussian shows on average over all directions."""
    return np.clip(0.5 + SH_0 * splat.sh[:, 0], 0, 1)


def add_cameras(server: viser.ViserServer, posed: PosedImages, reach: Reach, frames: Path) -> None:
    """Frusta with their photos in them: blue ones trained the splat, orange ones were held out. A click goes there."""
    parent = server.scene.add_frame("/cameras", show_axes=False)
    shown = server.gui.add_checkbox("Cameras", True)

    @shown.on_update
    def _(_: viser.GuiEvent) -> None:
        parent.visible = shown.value

    for photo in posed.views:
        camera, T_world_cam = posed.cameras[photo.camera], np.array(photo.T_world_cam)
        frustum = server.scene.add_camera_frustum(
            f"/cameras/{photo.image}",
            fov=vertical_fov_rad(posed, photo),
            aspect=camera.width_px / camera.height_px,
            scale=FRUSTUM_SHARE * reach.distance,
            thickness=0.004 * reach.distance,
            color=HELD_OUT if photo.held_out else TRAINED,
            image=thumbnail(frames / photo.image),
            wxyz=quat_wxyz_from_rotation(T_world_cam[:3, :3]),
            position=T_world_cam[:3, 3],
        )

        @frustum.on_click
        def _(event: viser.SceneNodePointerEvent, photo: View = photo) -> None:
            jump(event.client, posed, photo, reach)

    add_jump(server, posed, reach)


def add_jump(server: viser.ViserServer, posed: PosedImages, reach: Reach) -> None:
    by_name = {f"{photo.image}{' (held out)' if photo.held_out else ''}": photo for photo in posed.views}
    if not by_name:
        return
    chosen = server.gui.add_dropdown("Camera", tuple(by_name))
    go = server.gui.add_button("Look from this camera")

    @go.on_click
    def _(event: viser.GuiEvent) -> None:
        if event.client is not None:
            jump(event.client, posed, by_name[chosen.value], reach)


def jump(client: viser.ClientHandle, posed: PosedImages, photo: View, reach: Reach) -> None:
    """Puts the browser's camera where the photo was taken; it then turns about a point in front of it."""
    T_world_cam = np.array(photo.T_world_cam)
    with client.atomic():
        client.camera.up_direction = -T_world_cam[:3, 1]
        client.camera.position = T_world_cam[:3, 3]
        client.camera.look_at = T_world_cam[:3, 3] + reach.distance * T_world_cam[:3, 2]
        client.camera.fov = vertical_fov_rad(posed, photo)


def vertical_fov_rad(posed: PosedImages, photo: View) -> float:
    camera = posed.cameras[photo.camera]
    return float(2 * np.arctan(camera.height_px / 2 / camera.fy_px))


def thumbnail(photo: Path) -> UInt8[ndarray, "H W 3"] | None:
    """None where the bundle's photos are gone."""
    bgr = cv2.imread(str(photo), cv2.IMREAD_REDUCED_COLOR_2) if photo.is_file() else None
    if bgr is None:
        return None
    shrink = THUMBNAIL_PX / max(bgr.shape[:2])
    small = cv2.resize(bgr, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else bgr
    return np.ascontiguousarray(small[..., ::-1])


def add_mesh(server: viser.ViserServer, file: Path) -> None:
    """Hidden at first: it lies where the splat is."""
    if not file.is_file():
        return
    mesh = trimesh.load_mesh(file)
    handle = server.scene.add_mesh_trimesh("/mesh", mesh, visible=False)
    shown = server.gui.add_checkbox("Mesh", False)

    @shown.on_update
    def _(_: viser.GuiEvent) -> None:
        handle.visible = shown.value


def add_world(server: viser.ViserServer, posed: PosedImages, reach: Reach) -> None:
    """The axes that the twin's coordinates are in: x red, y green, z blue."""
    length = AXES_M if posed.metric else 0.25 * reach.distance
    handle = server.scene.add_frame("/world", axes_length=length, axes_radius=0.03 * length)
    label = f"Axes of '{posed.world}' ({f'{length:g} m' if posed.metric else 'not metric'})"
    shown = server.gui.add_checkbox(label, True)

    @shown.on_update
    def _(_: viser.GuiEvent) -> None:
        handle.visible = shown.value

"""The cell in three dimensions, for browsers, by viser: arm, chunks, cameras with their pictures, ghost, the twin.

It is only looked at: no message from a browser reaches it (`hardware.page.scene_window` lets none through).
"""

from __future__ import annotations

import base64
import secrets
import socket
from dataclasses import dataclass

import cv2
import numpy as np
import viser
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.tasks.start import TaskStart
from hardware.page.drawn_arm import DrawnArm
from hardware.page.ghost import Guide
from hardware.page.scene_frame import SceneFrame
from hardware.page.silhouette import standing
from hardware.spatial import Pose, quat_wxyz_from_rotation

FOLLOWED, BEFORE, WISHED = (245, 130, 20), (250, 205, 150), (150, 150, 160)
WANTED, SEEN = (30, 170, 80), (235, 60, 50)
CAMERA = (40, 110, 220)
FRUSTUM_M, LINE_M, CELL_M = 0.07, 0.004, 0.1
STAND_OFF_M, LOOK_M = (0.62, -0.5, 0.45), (0.16, 0.0, 0.08)
"""Where the first look is taken from and goes to, for an arm whose tool is `TOOL_M` away at home."""
TOOL_M = 0.25


@dataclass(frozen=True, eq=False)
class Mounted:
    """A camera of the cell: it stands, or sits on the hand; without either pose it is where the arm's model has it."""

    fov_rad: float
    """Vertical."""
    aspect: float
    T_base_cam: Pose | None = None
    T_tip_cam: Pose | None = None


class Scene:
    """One thread shows; viser's own serves. `arm` None: no model of the arm is known, so none is drawn."""

    def __init__(
        self, arm: DrawnArm | None, cameras: dict[str, Mounted], guide: Guide | None, table_m: float
    ) -> None:
        self._arm, self._cameras, self._guide = arm, cameras, guide
        self._server = _serve()
        scene = self._server.scene
        scene.set_up_direction("+z")
        self._grid = scene.add_grid("/table", 2.0, 2.0, cell_size=CELL_M, position=(0.0, 0.0, table_m))
        scene.add_frame("/base", axes_length=CELL_M, axes_radius=0.03 * CELL_M)
        self._links = self._add_arm(arm) if arm else {}
        self._frusta = {name: self._add_camera(name, camera) for name, camera in cameras.items()}
        nothing = np.zeros((1, 2, 3))
        self._paths = [
            scene.add_line_segments(f"/chunk/{name}", nothing, BEFORE, thickness=LINE_M, visible=False)
            for name in ("before", "newest")
        ]
        self._boxes = {name: self._add_box(name, colour) for name, colour in (("wanted", WANTED), ("seen", SEEN))}
        self._look(1.0 if arm is None else arm.home_m / TOOL_M)

    @property
    def address(self) -> str:
        """Of the socket that viser's client wants."""
        return f"ws://{self._server.get_host()}:{self._server.get_port()}"

    def close(self) -> None:
        self._server.stop()

    def add_splat(
        self,
        T_base_world: Pose,
        means_m: Float[ndarray, "N 3"],
        covariances_m2: Float[ndarray, "N 3 3"],
        rgb: Float[ndarray, "N 3"],
        opacities: Float[ndarray, " N"],
    ) -> None:
        """The twin's Gaussians, in its world; colours 0 … 1. They take the place of the table's grid."""
        self._grid.visible = False
        splat = self._server.scene.add_gaussian_splats("/twin", means_m, covariances_m2, rgb, opacities[:, None])
        _place(splat, T_base_world)

    def show(self, frame: SceneFrame) -> None:
        """Everything at once, so that no browser sees a part of it."""
        with self._server.atomic():
            if self._arm is not None and frame.q_rad:
                self._show_chunks(self._arm, frame)
                self._show_arm(self._arm, frame)
            self._show_box("wanted", frame.wanted)
            self._show_box("seen", frame.seen)
            for name, jpeg in frame.jpegs.items():
                if name in self._frusta:
                    self._frusta[name].image = _rgb(jpeg)

    def _show_arm(self, arm: DrawnArm, frame: SceneFrame) -> None:
        arm.move(frame.q_rad, frame.gripper_open)
        for link, T_base_link in arm.Ts_base_link().items():
            _place(self._links[link], T_base_link)
        for name, camera in self._cameras.items():
            if camera.T_tip_cam is not None:
                _place(self._frusta[name], arm.T_base_tip() @ camera.T_tip_cam)
            elif camera.T_base_cam is None:
                _place(self._frusta[name], arm.T_base_cam())

    def _show_chunks(self, arm: DrawnArm, frame: SceneFrame) -> None:
        """The newest in strong colour; the one before fades out as its rows are over."""
        rows = (*((),) * (2 - len(frame.chunks_rad)), *frame.chunks_rad)
        colours = (BEFORE, FOLLOWED if frame.is_followed else WISHED)
        for line, due_rad, colour in zip(self._paths, rows, colours, strict=True):
            path_m = arm.path_m(due_rad)
            line.visible = len(path_m) > 1
            if line.visible:
                line.points = np.stack([path_m[:-1], path_m[1:]], 1).astype(np.float32)
                line.colors = np.array(colour, np.uint8)

    def _show_box(self, name: str, start: TaskStart | None) -> None:
        box = self._boxes[name]
        if box is not None:
            box.visible = start is not None
            if start is not None and self._guide is not None:
                _place(box, standing(start, self._guide.centre_z_m))

    def _add_arm(self, arm: DrawnArm) -> dict[str, viser.FrameHandle]:
        links: dict[str, viser.FrameHandle] = {}
        for number, mesh in enumerate(arm.meshes()):
            if mesh.link not in links:
                links[mesh.link] = self._server.scene.add_frame(f"/arm/{mesh.link}", show_axes=False)
            self._server.scene.add_mesh_simple(
                f"/arm/{mesh.link}/{number}", mesh.vertices_m.astype(np.float32), mesh.faces, color=mesh.rgb
            )
        return links

    def _add_camera(self, name: str, camera: Mounted) -> viser.CameraFrustumHandle:
        frustum = self._server.scene.add_camera_frustum(
            f"/cameras/{name}",
            camera.fov_rad,
            camera.aspect,
            scale=FRUSTUM_M,
            thickness=0.002,
            color=CAMERA,
            cast_shadow=False,
        )
        if camera.T_base_cam is not None:
            _place(frustum, camera.T_base_cam)
        return frustum

    def _add_box(self, name: str, colour: tuple[int, int, int]) -> viser.BoxHandle | None:
        if self._guide is None:
            return None
        return self._server.scene.add_box(
            f"/object/{name}", colour, self._guide.size_m, opacity=0.45, cast_shadow=False, visible=False
        )

    def _look(self, share: float) -> None:
        camera = self._server.initial_camera
        camera.up = (0.0, 0.0, 1.0)
        camera.look_at = share * np.array(LOOK_M)
        camera.position = share * np.array(STAND_OFF_M)


def _serve() -> viser.ViserServer:
    """On this machine's own network at a random one of its 16 million addresses, which no page can guess or try.

    viser's socket knows no token and no origin; whoever is to look comes through the page's.
    """
    host = ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
    with socket.socket() as trial:  # viser waits for ever for a server that could not start
        trial.bind((host, 0))
    server = viser.ViserServer(host=host, port=0, label="3D scene", verbose=False)
    server.gui.configure_theme(show_logo=False, show_share_button=False)
    server.gui.main_panel.minimize()
    return server


def _place(handle: viser.SceneNodeHandle, pose: Pose) -> None:
    handle.wxyz = quat_wxyz_from_rotation(pose.rotation)
    handle.position = pose.translation_m


def _rgb(jpeg: str) -> ndarray:
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(jpeg), np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.ascontiguousarray(bgr[..., ::-1])

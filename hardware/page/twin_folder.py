"""A twin's folder → what the page shows of it: quality, photos with their cameras, renderings, contact; drawings in.

Renderings of the photos' views lie where `tandem twin render BUNDLE -o BUNDLE/page --path held-out` leaves them. What a
person draws is kept as `drawn.json`, and as files for `--config`: `drawn_segment.yaml` of `tandem twin segment`, and
`drawn_region.yaml` of `tandem rl expand` and `rl mine`, once it is known where the arm stands (`tandem twin align`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import yaml
from pydantic import ValidationError

from hardware import artefact
from hardware.camera_model import CameraModel
from hardware.config import Config
from hardware.errors import BadInput

REPORT = "text/html;charset=utf-8"
RENDERINGS, PHOTOS = "page", "work/capture/frames"
DRAWN, SEGMENT, REGION = "drawn.json", "drawn_segment.yaml", "drawn_region.yaml"
PICTURE = re.compile(r"(photo|drawing)/([A-Za-z0-9_.-]{1,80})\.(?:jpg|jpeg|png)")
MOST_VIEWS = 24
Point = tuple[float, float]
Matrix = tuple[tuple[float, float, float, float], ...]


class View(Config):
    """A photo, its camera in the twin's world, and whether the twin's picture of the same view is there."""

    image: str
    camera: CameraModel
    T_world_cam: Matrix
    has_drawing: bool


class Drawn(Config):
    """In the twin's world, on the table: corners of a polygon; boxes cx cy cz sx sy sz yaw_deg by name."""

    polygons: dict[str, tuple[Point, ...]] = {}
    boxes: dict[str, tuple[float, ...]] = {}


class TwinFolder:
    """Any thread reads; one writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """`twin.json`, `report.html`, `photo/NAME.jpg`, `drawing/NAME.jpg`; None: there is no such thing."""
        if path == "twin.json":
            return "application/json", json.dumps(self.shown()).encode()
        if path == "report.html" and (self._folder / path).is_file():
            return REPORT, (self._folder / path).read_bytes()
        if asked := PICTURE.fullmatch(path):
            return self._picture(asked[1], asked[2])
        return None

    def shown(self) -> dict[str, object]:
        """Quality and gates, views, contact report, drawings."""
        twin = _json(self._folder / "twin.json")
        stages = twin.get("stages", [])
        contact = _json(self._folder / "collision.json")
        return {
            "name": self._folder.name,
            "folder": str(self._folder),
            "metric": twin.get("frames", {}).get("metric", False),
            "quality": twin.get("quality") or {},
            "gates": [gate for stage in stages for gate in stage.get("gates", [])],
            "views": [view.model_dump() for view in self.views()],
            "objects": contact.get("objects", []),
            "contact_gates": contact.get("gates", []),
            "has_report": (self._folder / "report.html").is_file(),
            "knows_base": self._T_base_world() is not None,
            "table_m": _table_m(self._folder),
            "drawn": self.drawn().model_dump(),
        }

    def views(self) -> list[View]:
        """Those that training never saw first: they can be compared. No more than the page can offer."""
        cameras = _json(self._folder / "cameras.json")
        rows = sorted(cameras.get("views", []), key=lambda row: not row.get("held_out", False))
        views = []
        for row in rows:
            if len(views) == MOST_VIEWS or self._photo(Path(row["image"]).stem) is None:
                continue
            camera = CameraModel.model_validate(cameras["cameras"][row["camera"]])
            has_drawing = self._drawing(Path(row["image"]).stem).is_file()
            name = Path(row["image"]).stem
            views.append(View(image=name, camera=camera, T_world_cam=row["T_world_cam"], has_drawing=has_drawing))
        return views

    def drawn(self) -> Drawn:
        try:
            return Drawn.model_validate(_json(self._folder / DRAWN))
        except ValidationError:
            return Drawn()

    def keep(self, name: str, polygon_m: tuple[Point, ...], box: tuple[float, ...]) -> None:
        """One drawing; the newer of one name replaces the older. One without corners and sides is taken away."""
        drawn = self.drawn()
        polygons = {key: value for key, value in drawn.polygons.items() if key != name}
        boxes = {key: value for key, value in drawn.boxes.items() if key != name}
        if len(polygon_m) >= 3:
            polygons[name] = polygon_m
        if len(box) == 7:
            boxes[name] = box
        drawn = Drawn(polygons=polygons, boxes=boxes)
        artefact.write_model(self._folder / DRAWN, drawn)
        self._write_configs(drawn)

    def _write_configs(self, drawn: Drawn) -> None:
        segment = {
            "object": list(drawn.boxes),
            "box": [",".join(f"{number:.4f}" for number in box) for box in drawn.boxes.values()],
        }
        artefact.write_text(self._folder / SEGMENT, yaml.safe_dump(segment, sort_keys=False))
        T_base_world = self._T_base_world()
        if T_base_world is None or not drawn.polygons:
            (self._folder / REGION).unlink(missing_ok=True)
            return
        newest = np.array(list(drawn.polygons.values())[-1])
        world = np.column_stack([newest, np.full(len(newest), _table_m(self._folder)), np.ones(len(newest))])
        base = (T_base_world @ world.T).T[:, :2]
        polygon = [[round(float(x), 4), round(float(y), 4)] for x, y in base]
        artefact.write_text(self._folder / REGION, yaml.safe_dump({"polygon": polygon}, sort_keys=False))

    def _picture(self, kind: str, name: str) -> tuple[str, bytes] | None:
        file = self._photo(name) if kind == "photo" else self._drawing(name)
        if file is None or not file.is_file():
            return None
        return ("image/png" if file.suffix == ".png" else "image/jpeg"), file.read_bytes()

    def _photo(self, name: str) -> Path | None:
        files = (self._folder / PHOTOS / f"{name}{end}" for end in (".jpg", ".jpeg", ".png"))
        return next((file for file in files if file.is_file()), None)

    def _drawing(self, name: str) -> Path:
        return self._folder / RENDERINGS / f"{name}.png"

    def _T_base_world(self) -> np.ndarray | None:
        """None: nobody has said where the arm stands in the twin."""
        rows = _json(self._folder / "robot.json").get("T_world_base")
        return None if rows is None else np.linalg.inv(np.array(rows, float))


def _table_m(folder: Path) -> float:
    """The table's height at the world's origin."""
    return float(_json(folder / "supports.json").get("table", {}).get("offset_m", 0.0))


def _json(file: Path) -> dict:
    """Empty where there is no such file. Raises `BadInput` where it is damaged."""
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error

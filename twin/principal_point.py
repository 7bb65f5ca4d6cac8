"""A reconstruction in; the same after a last bundle adjustment, with its principal points solved where they can be."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pycolmap
from jaxtyping import Float
from numpy import ndarray

from twin.posed_scan import colmap_camera
from twin.threads import thread_count

log = logging.getLogger(__name__)


def refine(model: Any, fewest_views: int, agreement: float) -> Any:
    """A last bundle adjustment; a second one frees the principal points, and is kept where halves of the views agree.

    A phone's may be some pixels off the centre: held there, it turns every camera by a third of a degree (bench). But
    where the views cannot tell it, it drifts with the tangential distortion, and turns them by more (plush scan).
    """
    adjust(model, free_principal_point=False)
    if model.num_reg_images() < fewest_views:
        return model
    freed = copy.deepcopy(model)
    adjust(freed, free_principal_point=True)
    found = principal_points(freed)
    apart = max(float(np.abs(principal_points(half) - found).max()) for half in halves(model))
    log.info("principal points: found within %.2f %% of the width by halves of the views", 100 * apart)
    return freed if apart <= agreement else model


def halves(model: Any) -> Iterator[Any]:
    """The model with every second view, adjusted by itself with its principal points free."""
    frames = [image.frame_id for image in sorted(model.images.values(), key=lambda image: image.name)]
    for start in (0, 1):
        half = copy.deepcopy(model)
        for frame in {frame for frame in frames[start::2] if half.frame(frame).has_pose()}:
            half.deregister_frame(frame)
        adjust(half, free_principal_point=True)
        yield half


def principal_points(model: Any) -> Float[ndarray, "C 2"]:
    """In shares of the pictures' widths."""
    cameras = [colmap_camera(model.cameras[key]) for key in sorted(model.cameras)]
    return np.array([[camera.cx_px / camera.width_px, camera.cy_px / camera.width_px] for camera in cameras])


def adjust(model: Any, free_principal_point: bool) -> None:
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_principal_point = free_principal_point
    options.ceres.solver_options.max_num_iterations = 30
    options.ceres.solver_options.num_threads = thread_count()
    options.print_summary = False
    variables = pycolmap.BundleAdjustmentConfig()
    for number in model.reg_image_ids():
        variables.add_image(number)
    variables.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_bundle_adjuster(options, variables, model).solve()
    model.update_point_3d_errors()

"""The principal point is solved where halves of the views agree on it, and left at the centre where they do not."""

import numpy as np
import pycolmap
import pytest

from twin.principal_point import principal_points, refine


def reconstruction(
    rng: np.random.Generator, centre: tuple[float, float], noise_px: float
) -> pycolmap.Reconstruction:
    """Twenty-four views of 150 points through a lens with a known principal point; the model starts at the centre."""
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 1, 24
    options.num_points3D, options.camera_width, options.camera_height = 150, 1000, 800
    options.camera_model_id = pycolmap.CameraModelId.OPENCV
    options.camera_params = [900.0, 900.0, *centre, 0.05, -0.02, 0.0, 0.0]
    pycolmap.set_random_seed(int(rng.integers(2**31)))
    model = pycolmap.synthesize_dataset(options)
    for image in model.images.values():
        for point in image.points2D:
            point.xy = point.xy + rng.normal(0, noise_px, 2)
    for camera in model.cameras.values():
        params = camera.params.copy()
        params[2:4] = 500, 400
        camera.params = params
    return model


@pytest.mark.parametrize("centre", [(512.0, 391.0), (500.0, 400.0)])
def test_a_principal_point_that_the_views_can_tell_is_found(centre: tuple[float, float]) -> None:
    model = refine(reconstruction(np.random.default_rng(0), centre, 0.2), fewest_views=20, agreement=0.01)
    np.testing.assert_allclose(1000 * principal_points(model)[0], centre, atol=1.5)


def test_halves_that_do_not_agree_leave_it_at_the_centre() -> None:
    model = reconstruction(np.random.default_rng(1), (512.0, 391.0), 0.2)
    kept = refine(model, fewest_views=20, agreement=1e-9)
    np.testing.assert_allclose(1000 * principal_points(kept)[0], [500, 400], atol=1e-9)


def test_few_views_are_not_asked() -> None:
    model = reconstruction(np.random.default_rng(2), (512.0, 391.0), 0.2)
    kept = refine(model, fewest_views=25, agreement=0.01)
    np.testing.assert_allclose(1000 * principal_points(kept)[0], [500, 400], atol=1e-9)

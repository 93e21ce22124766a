"""Colour fix, control maps, smoothing, placement."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.engine.sewn import flat, label_map, sew
from worker.engine.colour import lab_colour_fix, lab_to_rgb, rgb_to_lab, to_float, to_image, to_uint8
from worker.engine.control_maps import edge_map, tile_map
from worker.engine.cutout import lift_flat, lift_motif
from worker.engine.place import PlacementOutsideError, place_patch, placement_corners
from worker.engine.smoothing import guided_filter, remove_texture


def test_conversions_round_trip():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(to_uint8(to_float(picture)), picture)
    assert np.array_equal(np.asarray(to_image(picture)), picture)
    assert np.abs(lab_to_rgb(rgb_to_lab(picture)) - to_float(picture)).max() < 0.01
    with pytest.raises(ValueError, match="H x W x 3"):
        to_float(np.zeros((4, 4, 2)))


def test_colour_fix_takes_chroma_and_leaves_lightness():
    labels = label_map(96, 96)
    sewn, design = sew(labels), np.roll(flat(labels), 1, axis=2)
    fixed = lab_colour_fix(sewn, design)
    assert isinstance(fixed, Image.Image)
    before, after, wanted = rgb_to_lab(sewn), rgb_to_lab(fixed), rgb_to_lab(design)
    assert np.abs(after[..., 0] - before[..., 0]).mean() < 1.0
    hue = np.arctan2(after[..., 2], after[..., 1]) - np.arctan2(wanted[..., 2], wanted[..., 1])
    chromatic = (np.hypot(after[..., 1], after[..., 2]) > 15) & (np.hypot(wanted[..., 1], wanted[..., 2]) > 15)
    assert np.abs(np.angle(np.exp(1j * hue)))[chromatic].mean() < 0.12, "hue is kept where chroma had to give way"
    assert np.abs(to_float(lab_colour_fix(sewn, design, strength=0.0)) - to_float(sewn)).max() < 0.02
    assert lab_colour_fix(np.asarray(sewn), design).dtype == np.uint8
    assert lab_colour_fix(to_float(sewn), design).dtype == np.float32


def test_colour_fix_resizes_the_design():
    assert lab_colour_fix(sew(label_map(64, 64)), flat(label_map(128, 128))).size == (64, 64)


def test_tile_map_scales_with_the_picture():
    labels = label_map(256, 256)
    small = tile_map(flat(labels), 60)
    large = tile_map(flat(cv2.resize(labels, (1024, 1024), interpolation=cv2.INTER_NEAREST)), 60)
    assert np.abs(cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA) - small).mean() < 0.01
    assert small.dtype == np.float32
    assert small.min() >= 0
    assert small.max() <= 1
    blurred = tile_map(flat(labels), 120, guided=False)
    assert np.abs(np.diff(blurred, axis=1)).max() < np.abs(np.diff(flat(labels), axis=1)).max() / 3


def test_edge_map_sees_colour_edges_of_equal_grey():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32], picture[:, 32:] = (200, 0, 0), (0, 102, 0)
    edges = edge_map(picture)
    assert set(np.unique(edges)) == {0.0, 1.0}
    assert edges[:, 30:34].any(axis=1).mean() > 0.9
    assert not edges[:, :20].any()


def test_texture_goes_and_edges_stay():
    labels = label_map(128, 128)
    smooth = remove_texture(to_float(sew(labels, 4.0)), sigma=3.6)
    inside = cv2.erode((labels == 2).astype(np.uint8), np.ones((9, 9))) > 0
    assert rgb_to_lab(smooth)[inside, 0].std() < 0.2 * rgb_to_lab(sew(labels, 4.0))[inside, 0].std()
    jump = np.abs(np.diff(smooth[..., 0], axis=1))[40:90].max(axis=1)
    assert jump.min() > 0.1


def test_guided_filter_keeps_its_guide():
    guide = flat(label_map(64, 64)).mean(axis=2)
    assert np.abs(guided_filter(guide, guide, 4, 1e-4) - guide).max() < 0.05
    assert guided_filter(guide, guide, 0, 1e-4) is guide
    assert guided_filter(flat(label_map(64, 64)), guide, 3, 1e-3).shape == (64, 64, 3)


def patch(size=96):
    labels = label_map(size, size)
    return lift_motif(sew(labels), labels > 0)


def test_a_lifted_motif_has_no_rim_of_cloth():
    labels = label_map(192, 192)
    cut = np.asarray(lift_motif(sew(labels), labels > 0), np.float32) / 255
    assert cut[labels == 0, 3].mean() < 0.06
    assert cut[cv2.erode((labels > 0).astype(np.uint8), np.ones((7, 7))) > 0, 3].min() > 0.9
    on_black = cut[..., :3] * cut[..., 3:]
    rim = (cv2.dilate((labels > 0).astype(np.uint8), np.ones((5, 5))) > 0) & (labels == 0)
    assert on_black[rim].mean() < 0.25


def test_a_lifted_design_has_no_rim_of_ground():
    drawn = Image.new("RGB", (256, 256), (0, 0, 0))
    pen = ImageDraw.Draw(drawn)
    pen.ellipse((40, 40, 200, 200), fill=(250, 200, 40))
    pen.line((10, 230, 240, 250), fill=(250, 200, 40), width=4)
    small = drawn.resize((64, 64), Image.Resampling.BOX)  # colours at the outline are mixed with the ground's black
    mask = np.asarray(small)[..., 0] > 125
    cut = np.asarray(lift_flat(small, mask))
    assert (np.asarray(small)[mask] < (240, 190, 30)).any(), "there is something to clean"
    disc = cut[:52][cut[:52, :, 3] > 0]
    assert np.unique(disc[:, :3], axis=0).tolist() == [[250, 200, 40]]
    assert cut[0, 0, 3] == 0
    assert cut[30, 30, 3] == 255
    line = cut[54:][cut[54:, :, 3] > 200]
    assert len(line) > 20, "a line without an inside is kept"


def test_placement_lies_where_asked_and_nothing_else_moves():
    garment = Image.new("RGB", (400, 300), (60, 70, 90))
    out = np.asarray(place_patch(patch(), garment, {"center": [200, 150], "width_px": 120}), np.int32)
    changed = np.abs(out - np.asarray(garment, np.int32)).max(axis=2) > 3
    rows, columns = np.nonzero(changed)
    assert 130 <= columns.min() < columns.max() <= 275
    assert 80 <= rows.min() < rows.max() <= 225
    assert out.shape == (300, 400, 3)


def test_folds_show_on_the_embroidery():
    x = np.linspace(0, 6 * np.pi, 400)
    folds = np.tile((128 + 70 * np.sin(x))[None, :, None], (300, 1, 3)).astype(np.uint8)
    solid = Image.new("RGBA", (80, 80), (200, 40, 40, 255))
    out = np.asarray(place_patch(solid, Image.fromarray(folds), {"center": [200, 150], "width_px": 200}), np.float32)
    row, cloth = out[150, 110:290, 0], folds[150, 110:290, 0].astype(np.float32)
    assert np.corrcoef(row, cloth)[0, 1] > 0.8


def test_a_shadow_falls_beside_the_embroidery():
    garment = Image.new("RGB", (300, 300), (200, 200, 200))
    solid = Image.new("RGBA", (80, 80), (200, 40, 40, 255))
    out = np.asarray(place_patch(solid, garment, {"center": [150, 150], "width_px": 100}, width_mm=30))
    below, above = out[203:206, 130:170].mean(), out[94:97, 130:170].mean()
    assert below < above < 201


def test_corners():
    square = placement_corners({"center": [50, 60], "width_px": 20})
    assert square.tolist() == [[40, 50], [60, 50], [60, 70], [40, 70]]
    turned = placement_corners({"center": [50, 60], "width_px": 20, "rotation_deg": 90})
    assert np.allclose(turned[0], [60, 50], atol=1e-4), "clockwise"
    assert placement_corners([(0, 0), (1, 0), (1, 1), (0, 1)]).shape == (4, 2)
    with pytest.raises(ValueError, match="centre and a width"):
        placement_corners({"width_px": 10})


@pytest.mark.parametrize(
    "placement",
    [
        {"center": [10, 10], "width_px": 100},
        {"quad": [[0, 0], [500, 0], [500, 100], [0, 100]]},
        {"quad": [[10, 10], [100, 100], [100, 10], [10, 100]]},
    ],
)
def test_outside_or_crossed_is_refused(placement):
    with pytest.raises(PlacementOutsideError):
        place_patch(patch(32), Image.new("RGB", (200, 200)), placement)


def test_perspective_quad():
    garment = Image.new("RGB", (300, 300), (250, 250, 250))
    solid = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    ImageDraw.Draw(solid).rectangle((0, 0, 31, 63), fill=(200, 0, 0, 255))
    ImageDraw.Draw(solid).rectangle((32, 0, 63, 63), fill=(0, 0, 200, 255))
    out = np.asarray(place_patch(solid, garment, {"quad": [[100, 60], [240, 90], [220, 220], [80, 200]]}))
    assert out[140, 110, 0] > out[140, 110, 2]
    assert out[150, 210, 2] > out[150, 210, 0]

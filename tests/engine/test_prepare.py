"""Photos of embroideries: the motif is found, threads stay visible, pictures without stitches are told apart."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.engine.sewn import flat, label_map, sew
from worker.engine.colour import to_float
from worker.engine.ground import find_ground
from worker.engine.prepare import prepare_design, prepare_reference


def codes(prepared):
    return {notice.code for notice in prepared.warnings}


def iou(first, second):
    return (first & second).sum() / max((first | second).sum(), 1)


def test_the_motif_is_found_and_kept_whole_where_threads_allow():
    labels = label_map(420, 320)
    prepared = prepare_reference(sew(labels, period=5.0), 256)
    assert codes(prepared) == set()
    assert prepared.embroidery.size == (256, 256)
    assert prepared.mask.shape == (256, 256)
    assert prepared.window.kept > 0.99
    assert iou(prepared.photo_mask, labels > 0) > 0.9
    assert abs(prepared.evidence.period - 5.0) < 1.0


def test_a_fine_thread_asks_for_a_closer_crop():
    prepared = prepare_reference(sew(label_map(900, 700), period=4.0), 256)
    assert prepared.window.kept < 0.9
    assert 3.0 <= prepared.thread_period <= 5.0
    assert "part_of_motif" in codes(prepared)
    whole = prepare_reference(sew(label_map(900, 700), period=4.0), 256, crop="motif")
    assert whole.window.kept > 0.99
    assert "threads_too_fine" in codes(whole)


def test_hoop_and_table_are_dropped():
    labels = label_map(300, 300)
    photo = np.full((500, 600, 3), (0.35, 0.22, 0.12), np.float32)
    photo += 0.03 * np.sin(np.arange(600) / 9)[None, :, None]
    cv2.circle(photo, (300, 250), 226, (0.70, 0.52, 0.30), -1)
    cloth = np.zeros((500, 600), np.uint8)
    cv2.circle(cloth, (300, 250), 208, 1, -1)
    inner = np.zeros((500, 600), np.uint8)
    inner[100:400, 150:450] = labels
    sewn = to_float(sew(inner, period=5.0))
    photo[cloth > 0] = sewn[cloth > 0]
    prepared = prepare_reference(Image.fromarray((np.clip(photo, 0, 1) * 255).astype(np.uint8)), 256)
    assert iou(prepared.photo_mask, inner > 0) > 0.85
    assert np.allclose(prepared.ground_rgb, (0.9, 0.86, 0.78), atol=0.09)
    # nothing of the table is left in the crop
    dark = to_float(prepared.embroidery)[~cv2.dilate(prepared.mask.astype(np.uint8), np.ones((9, 9))).astype(bool)]
    assert (dark.mean(axis=1) > 0.6).mean() > 0.97


def test_cloth_is_continued_beyond_the_photo_with_its_weave():
    labels = label_map(420, 200)
    prepared = prepare_reference(sew(labels, period=5.0), 256, crop="whole", balance=False)
    picture = to_float(prepared.embroidery)
    beyond, within = picture[:40, 20:236], picture[60:75, :30]
    assert np.abs(beyond.mean(axis=(0, 1)) - within.mean(axis=(0, 1))).max() < 0.03
    assert beyond.std(axis=(0, 1)).mean() > 0.4 * within.std(axis=(0, 1)).mean(), "a plain colour has no weave"
    again = prepare_reference(sew(labels, period=5.0), 256, crop="whole", balance=False)
    assert again.embroidery.tobytes() == prepared.embroidery.tobytes()


def test_whole_and_unbalanced_leaves_a_square_picture_alone():
    picture = sew(label_map(256, 256), period=4.0)
    prepared = prepare_reference(picture, 256, crop="whole", balance=False)
    assert np.abs(to_float(prepared.embroidery) - to_float(picture)).max() < 0.02


def test_perspective_is_undone():
    labels = label_map(400, 400)
    straight = to_float(sew(labels, period=6.0))
    quad = [(60, 40), (520, 90), (490, 470), (20, 430)]
    matrix = cv2.getPerspectiveTransform(
        np.array([[0, 0], [400, 0], [400, 400], [0, 400]], np.float32), np.array(quad, np.float32)
    )
    seen = cv2.warpPerspective(straight, matrix, (560, 500), borderValue=(0.2, 0.3, 0.2))
    seen = Image.fromarray((np.clip(seen, 0, 1) * 255).astype(np.uint8))
    prepared = prepare_reference(seen, 256, quad=[quad[2], quad[0], quad[3], quad[1]], crop="whole")
    # how wide the plane really is against its height, four corners cannot tell
    found = cv2.resize(prepared.photo_mask.astype(np.uint8), (400, 400), interpolation=cv2.INTER_NEAREST) > 0
    assert iou(found, labels > 0) > 0.9


@pytest.mark.parametrize("quad", [[(0, 0), (1, 0), (2, 0), (3, 0)], [(0, 0), (10, 0), (10, 10)]])
def test_a_quad_without_area_is_refused(quad):
    with pytest.raises(ValueError, match="corners"):
        prepare_reference(sew(label_map(200, 200)), 256, quad=quad)


def test_a_box_is_honoured_and_an_empty_one_refused():
    prepared = prepare_reference(sew(label_map(400, 400)), 256, crop=(100, 100, 300, 300))
    assert (prepared.window.left, prepared.window.top, prepared.window.side) == (100, 100, 200)
    with pytest.raises(ValueError, match="empty"):
        prepare_reference(sew(label_map(200, 200)), 256, crop=(50, 50, 50, 90))


def plain_pictures():
    y, x = np.mgrid[0:400, 0:400].astype(np.float32) / 400
    rng = np.random.default_rng(1)
    yield "flat design", flat(label_map(400, 400))
    yield "gradient", np.stack([x, y, 1 - x], axis=-1)
    yield "noise", 0.5 + 0.1 * rng.standard_normal((400, 400, 3)).astype(np.float32)
    blobs = cv2.GaussianBlur(rng.standard_normal((400, 400, 3)).astype(np.float32), (0, 0), 12)
    yield "clouds", 0.5 + 4 * blobs
    yield "one shape on white", np.where(((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.06)[..., None], [0.2, 0.4, 0.9], 1.0)


@pytest.mark.parametrize(("name", "picture"), list(plain_pictures()), ids=lambda v: v if isinstance(v, str) else "")
def test_pictures_without_stitches_are_told(name, picture):
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    assert "no_embroidery" in codes(prepare_reference(image, 256)), name


def test_blurred_dark_and_small_photos_are_told():
    sewn = sew(label_map(420, 320), period=5.0)
    assert "blurry" in codes(prepare_reference(sewn.filter(ImageFilter.GaussianBlur(7)), 256))
    assert "too_dark" in codes(prepare_reference(sewn.point(lambda v: v // 6), 256))
    small = Image.new("RGB", (600, 600), (229, 219, 199))
    small.paste(sew(label_map(90, 90), period=4.0), (250, 250))
    assert "low_resolution" in codes(prepare_reference(small, 256))


def test_every_shared_photo_passes_and_garments_and_designs_do_not(shared_data):
    for path in sorted((shared_data / "photos").glob("pemb_*.jpg")):
        with Image.open(path) as image:
            prepared = prepare_reference(image, 256)
        assert not codes(prepared) & {"no_embroidery", "blurry", "too_dark"}, path.name
        assert 3.0 <= prepared.thread_period <= 6.5, path.name
    others = [
        *sorted((shared_data / "garments").glob("worn_*.jpg"))[:4],
        *sorted((shared_data / "designs").glob("fl_*.png"))[:4],
    ]
    for path in others:
        with Image.open(path) as image:
            assert "no_embroidery" in codes(prepare_reference(image, 256)), path.name


def test_ground_of_a_coloured_cloth():
    cloth = np.array([0.45, 0.25, 0.50], np.float32)
    ground = find_ground(to_float(sew(label_map(300, 300), cloth=cloth)))
    assert np.abs(ground.rgb - cloth).max() < 0.04
    assert not ground.covered


def test_a_design_is_cropped_squared_and_laid_on_cloth():
    image = Image.new("RGBA", (400, 200), (0, 0, 0, 0))
    image.paste((10, 120, 200, 255), (150, 50, 250, 150))
    prepared = prepare_design(image, 128, ground_rgb=(0.2, 0.2, 0.2))
    assert prepared.design.size == (128, 128)
    assert prepared.design.getpixel((2, 2)) == (51, 51, 51)
    assert prepared.design.getpixel((64, 64)) == (10, 120, 200)
    assert 0.7 < prepared.mask.mean() < 0.85


def test_white_round_a_logo_goes_and_white_in_it_stays():
    image = Image.new("RGB", (300, 300), "white")
    image.paste((180, 20, 30), (60, 60, 240, 240))
    image.paste((255, 255, 255), (120, 120, 180, 180))
    prepared = prepare_design(image, 128, ground_rgb=(0.3, 0.4, 0.3))
    assert prepared.design.getpixel((1, 1)) == (77, 102, 77)
    assert prepared.design.getpixel((64, 64)) == (255, 255, 255)
    assert prepared.mask[64, 64]


def test_what_sews_badly_is_told():
    lines = Image.new("RGBA", (512, 512), (0, 0, 0, 0))
    for y in range(40, 480, 30):
        lines.paste((0, 0, 0, 255), (20, y, 490, y + 3))
    assert "thin_lines" in codes(prepare_design(lines, 256))
    x = np.linspace(0, 255, 512).astype(np.uint8)
    shaded = Image.fromarray(
        np.stack([np.tile(x, (512, 1)), np.tile(x[::-1], (512, 1)), np.full((512, 512), 90, np.uint8)], -1)
    )
    assert "gradients" in codes(prepare_design(shaded, 256))
    assert not codes(prepare_design(Image.fromarray((flat(label_map(300, 300)) * 255).astype(np.uint8)), 256))

"""Flat designs from embroideries: no stitch left, few inks, artwork brought into place."""

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.engine.sewn import CLOTH, flat, label_map, sew
from worker.engine.colour import lab_to_rgb, rgb_to_lab, to_float, to_image
from worker.engine.pairs import DiffusionUnavailableError, build_pair
from worker.engine.pairs.inks import absorb_small, choose_inks
from worker.engine.pairs.registration import register
from worker.engine.prepare import prepare_reference


@pytest.fixture(scope="module")
def labels():
    return label_map(360, 300)


@pytest.fixture(scope="module")
def prepared(labels):
    return prepare_reference(sew(labels, period=5.0), 256, balance=False)


def artwork(labels, *, transparent=True):
    rgb = (flat(labels, np.ones(3, np.float32)) * 255).astype(np.uint8)
    if not transparent:
        return Image.fromarray(rgb)
    return Image.fromarray(np.dstack([rgb, np.where(labels > 0, 255, 0).astype(np.uint8)]), "RGBA")


def mean_difference(design, prepared, labels):
    """Mean Lab distance of a design to the truth laid through the same window."""
    window, size = prepared.window, 256
    scale = size / window.side
    matrix = np.array([[scale, 0, -window.left * scale], [0, scale, -window.top * scale]])
    truth = cv2.warpAffine(flat(labels), matrix, (size, size), flags=cv2.INTER_AREA, borderValue=CLOTH.tolist())
    return float(np.linalg.norm(rgb_to_lab(to_float(design)) - rgb_to_lab(truth), axis=2).mean())


def test_flatten_leaves_clean_artwork(prepared, labels):
    pair = build_pair(prepared, "flatten")
    assert pair.builder == "flatten"
    assert len(pair.report["inks"]) == 3
    assert pair.report["texture_left"] < 0.05
    assert pair.report["edges"] > 0.9
    assert pair.report["high_frequency"]["ratio"] < 0.5
    colours, counts = np.unique(np.asarray(pair.design).reshape(-1, 3), axis=0, return_counts=True)
    assert counts[np.argsort(counts)[-4:]].sum() > 0.93 * counts.sum(), "flat areas but for antialiased borders"
    assert len(colours) < 1500
    assert mean_difference(pair.design, prepared, labels) < 7


def test_flatten_is_deterministic(prepared):
    assert (
        build_pair(prepared, "flatten", seed=3).design.tobytes()
        == build_pair(prepared, "flatten", seed=3).design.tobytes()
    )


def test_flatten_keeps_a_line_of_one_thread():
    labels = np.zeros((300, 300), np.uint8)
    points = np.array([(40 + 220 * t, 150 + 90 * np.sin(7 * t)) for t in np.linspace(0, 1, 60)], np.int32)
    cv2.polylines(labels, [points], False, 2, 6)
    prepared = prepare_reference(sew(labels, period=6.0), 256, crop="whole")
    design = to_float(build_pair(prepared, "flatten").design)
    blue = design[..., 2] - design[..., 0] > 0.2
    pieces, _ = cv2.connectedComponents(blue.astype(np.uint8))
    assert pieces - 1 == 1, "one unbroken line"


def test_a_border_that_only_hue_shows_survives_relief():
    """A navy ring round a green hill, of about one lightness, under strong relief."""
    side, rng = 256, np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    far = np.hypot(x - 128, y - 128)
    ring, hill = (far < 100) & (far > 88), far <= 88
    lab = np.where(ring[..., None], (36.0, -3, -18), np.where(hill[..., None], (44.0, -13, 4), (82.0, -2, 6)))
    relief = 14 * np.sin(2 * np.pi * (x + y) / 6 + rng.normal(0, 0.3, (side, side))) * (far < 100)
    lab[..., 0] += relief
    photo = to_image(lab_to_rgb(lab.astype(np.float32)))
    design = rgb_to_lab(build_pair(prepare_reference(photo, side, crop="whole", balance=False), "flatten").design)
    assert (design[ring][:, 2] < -7).mean() > 0.8
    assert (design[hill][:, 2] > -7).mean() > 0.9


def test_a_photo_without_motif_gives_plain_cloth():
    blank = prepare_reference(Image.new("RGB", (300, 300), (220, 210, 190)), 128)
    assert len(np.unique(np.asarray(build_pair(blank, "flatten").design).reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("transparent", [True, False])
@pytest.mark.parametrize(("turn", "scale", "shift"), [(0, 1.0, (0, 0)), (7, 0.8, (25, -12)), (90, 1.1, (0, 10))])
def test_artwork_is_brought_onto_the_photo(prepared, labels, transparent, turn, scale, shift):
    matrix = cv2.getRotationMatrix2D((180, 150), turn, scale)
    matrix[:, 2] += np.array([260, 260]) - np.array([180, 150]) + np.array(shift)
    moved = cv2.warpAffine(labels, matrix, (520, 520), flags=cv2.INTER_NEAREST)
    pair = build_pair(prepared, "artwork", artwork(moved, transparent=transparent))
    assert pair.builder == "artwork", pair.report
    assert pair.report["registration"]["overlap"] > 0.9
    assert pair.report["edges"] > 0.85
    assert mean_difference(pair.design, prepared, labels) < 7


def test_artwork_takes_the_colours_of_the_threads(prepared, labels):
    other = artwork(labels)
    red, green, blue, alpha = other.split()
    pair = build_pair(
        prepared, "artwork", Image.merge("RGBA", (red, green.point(lambda v: min(255, v + 60)), blue, alpha))
    )
    assert pair.report["colours"] < 0.25


def test_perspective_and_pull_are_taken_up(labels):
    truth = (labels > 0).astype(np.float32)
    y, x = np.mgrid[0:300, 0:360].astype(np.float32)
    bent = cv2.remap(truth, x + 5 * np.sin(y / 40), y + 4 * np.sin(x / 50), cv2.INTER_LINEAR)
    photo = np.where(bent[..., None] > 0.5, flat(labels), CLOTH).astype(np.float32)
    corners = np.array([[0, 0], [360, 0], [360, 300], [0, 300]], np.float32)
    tilted = cv2.getPerspectiveTransform(corners, corners + np.array([[8, 4], [-6, 10], [4, -8], [10, 2]], np.float32))
    art = cv2.warpPerspective(flat(labels, np.ones(3, np.float32)), tilted, (360, 300), borderValue=(1, 1, 1))
    alpha = cv2.warpPerspective(truth, tilted, (360, 300))
    found = register(art, alpha, photo, bent > 0.5)
    assert found.overlap > 0.93


def test_other_artwork_falls_back_with_a_sentence(prepared):
    stripes = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    for y in range(10, 300, 40):
        stripes.paste((20, 160, 60, 255), (10, y, 290, y + 8))
    pair = build_pair(prepared, "artwork", stripes)
    assert pair.builder == "flatten"
    assert "could not be matched" in pair.report["fallback"]


def test_bad_requests(prepared):
    with pytest.raises(ValueError, match="unknown pair builder"):
        build_pair(prepared, "magic")
    with pytest.raises(ValueError, match="artwork is missing"):
        build_pair(prepared, "artwork")
    with pytest.raises(DiffusionUnavailableError, match="flatten"):
        build_pair(prepared, "diffusion")


def test_diffusion_is_handed_its_maps(prepared):
    seen = []

    class Model:
        name = "ours"

        def __call__(self, request):
            seen.append(request)
            return Image.new("RGB", (64, 64), (200, 30, 30))

    pair = build_pair(prepared, "diffusion", seed=5, diffusion=Model())
    assert (pair.builder, pair.report["model"]) == ("diffusion", "ours")
    assert pair.design.size == (256, 256)
    (request,) = seen
    assert request.tile.shape == (256, 256, 3)
    assert request.edges.shape == (256, 256)
    assert float(request.edges.max()) <= 1.0
    assert request.seed == 5


def test_inks_that_stand_out_survive_however_small():
    lab = np.concatenate([np.tile([50.0, 60, 30], (5000, 1)), np.tile([10.0, 0, 0], (25, 1))]).astype(np.float32)
    assert len(choose_inks(lab, merge=18, smallest=0.006)) == 2
    assert len(choose_inks(lab + np.random.default_rng(0).normal(0, 3, lab.shape).astype(np.float32), 18, 0.006)) == 2


def test_sheen_makes_no_ink_and_two_threads_make_two():
    """One green from shade to shine, and a sky no farther from a mountain than shade is from shine."""
    rng = np.random.default_rng(0)
    shade, shine = np.array([40.0, -17, 6]), np.array([57.0, -31, 22])
    sheen = shade + rng.random((6000, 1)) * (shine - shade) + rng.normal(0, 2, (6000, 3))
    assert len(choose_inks(sheen.astype(np.float32), merge=18, smallest=0.006)) == 1
    sky, mountain = np.array([69.0, -11, -10]), np.array([49.0, -13, 3.5])
    both = np.concatenate([colour + rng.normal(0, (4, 1.5, 2), (3000, 3)) for colour in (sky, mountain)])
    mixed = sky + rng.random((300, 1)) * (mountain - sky)
    assert len(choose_inks(np.concatenate([both, mixed]).astype(np.float32), merge=18, smallest=0.006)) == 2


def test_small_areas_are_absorbed():
    labels = np.zeros((40, 40), np.int32)
    labels[5:35, 5:35] = 1
    labels[20, 20] = 2
    labels[0, 0] = 2
    assert set(np.unique(absorb_small(labels, 9.0))) == {0, 1}


def test_the_real_pair(shared_data):
    with Image.open(shared_data / "photos" / "pemb_multicolour_heart.jpg") as photo:
        prepared = prepare_reference(photo, 256)
    with Image.open(shared_data / "designs" / "pair_multicolour_heart_flat.png") as original:
        pair = build_pair(prepared, "artwork", original)
    assert pair.builder == "artwork"
    assert pair.report["registration"]["overlap"] > 0.85
    drawn = build_pair(prepared, "flatten")
    for one in (pair, drawn):
        assert one.report["texture_left"] < 0.15
        assert one.report["edges"] > 0.7

"""A sample's own stitches on another design."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.engine import sewn
from tests.engine.test_adapter import strong_adapter
from tests.engine.test_train import CONFIG, SOURCE, Recorder, stitched_photo
from worker.engine.adapter import Adapter, AdapterError
from worker.engine.checkpoint import Snapshot
from worker.engine.colour import lightness, rgb_to_lab, to_image
from worker.engine.config import render_config
from worker.engine.drawing import lay, sew
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.metrics import log_gabor_distance, log_gabor_statistics, orientation_distance, orientation_histogram
from worker.engine.pairs import Pair
from worker.engine.quilt import Swatch, lay_finely, lay_stitches
from worker.engine.train import train_style

SIDE = 128


def swatch(period: float = 4.0) -> Swatch:
    labels = sewn.label_map(SIDE, SIDE)
    return Swatch(sewn.sew(labels, period), to_image(sewn.flat(labels)), labels > 0)


def other_design(side: int = SIDE) -> tuple[Image.Image, np.ndarray]:
    """A green ellipse with a pale square in it, on dark cloth."""
    picture = np.full((side, side, 3), (40, 44, 70), np.uint8)
    cv2.ellipse(picture, (side // 2, side // 2), (int(0.4 * side), int(0.3 * side)), 20, 0, 360, (60, 140, 70), -1)
    cv2.rectangle(picture, (side // 2 - 9, side // 2 - 9), (side // 2 + 9, side // 2 + 9), (220, 210, 160), -1)
    return Image.fromarray(picture), np.any(picture != picture[0, 0], axis=-1)


def stitches_of(picture, mask):
    return log_gabor_statistics(picture, mask)


def test_a_design_gets_the_samples_stitches():
    """Far nearer to them than the flat design, and to threads of this width rather than another."""
    fine, coarse = swatch(3.5), swatch(7.0)
    design, mask = other_design()
    wanted = stitches_of(fine.embroidery, fine.mask)
    distances = [
        log_gabor_distance(stitches_of(picture, mask), wanted)
        for picture in (lay_stitches(fine, design, mask).picture, lay_stitches(coarse, design, mask).picture, design)
    ]
    assert distances[0] < 0.9 * distances[1], distances
    assert distances[0] < 0.5 * distances[2], distances


def test_threads_keep_their_direction():
    one = swatch()
    upright = Swatch(*(picture.rotate(90) for picture in (one.embroidery, one.design)), np.rot90(one.mask).copy())
    design, mask = other_design()
    for same, turned in ((one, upright), (upright, one)):
        laid = lay_stitches(same, design, mask).picture
        directions = orientation_histogram(laid, mask)
        own, other = (orientation_histogram(one.embroidery, one.mask) for one in (same, turned))
        assert orientation_distance(directions, own) < orientation_distance(directions, other)


def test_colours_stay_the_designs():
    design, mask = other_design()
    laid = lay_stitches(swatch(), design, mask)
    inside = cv2.erode(mask.astype(np.uint8), np.ones((15, 15))) > 0
    lab, flat = rgb_to_lab(laid.picture), rgb_to_lab(design)
    assert np.abs(lab - flat)[inside][:, 1:].mean() < 3  # what is lost to the gamut
    # Here and there a little of the cloth shows between threads.
    assert np.abs(np.asarray(laid.colours, int) - np.asarray(design, int))[inside].mean() < 3
    assert np.abs(lab - flat)[inside][:, 0].std() > 2


def test_the_motif_is_found_by_its_cloth():
    design, mask = other_design()
    assert lay_stitches(swatch(), design).picture.tobytes() == lay_stitches(swatch(), design, mask).picture.tobytes()


def test_a_seed_is_a_choice():
    design, mask = other_design()
    first, again, another = (lay_stitches(swatch(), design, mask, seed).picture.tobytes() for seed in (3, 3, 4))
    assert first == again
    assert first != another


@pytest.mark.parametrize("size", [(32, 32), (61, 61), (200, 151)])
def test_any_size_of_design(size):
    picture = other_design(256)[0].resize(size)
    assert lay_stitches(swatch(), picture).picture.size == size


def test_a_sample_without_stitches_lays_none():
    flat = to_image(sewn.flat(sewn.label_map(SIDE, SIDE)))
    nothing = Swatch(flat, flat, sewn.label_map(SIDE, SIDE) > 0)
    design, mask = other_design()
    laid = lay_stitches(nothing, design, mask).picture
    assert np.abs(np.asarray(laid, int) - np.asarray(design, int)).max() <= 2


def test_a_style_keeps_its_swatch(base):
    given = replace(strong_adapter(base), swatch=swatch())
    kept = Adapter.from_bytes(given.to_bytes())
    assert kept.manifest == given.manifest
    assert np.array_equal(kept.swatch.mask, given.swatch.mask)
    assert kept.swatch.design.tobytes() == given.swatch.design.tobytes()
    assert kept.swatch.embroidery.tobytes() == given.swatch.embroidery.tobytes()
    assert kept.to_bytes() == given.to_bytes()
    assert Adapter.from_bytes(strong_adapter(base).to_bytes()).swatch is None


@pytest.mark.parametrize("damaged", [{}, "", dict.fromkeys(("embroidery", "design", "mask"), "AA")])
def test_a_damaged_swatch_is_refused(base, damaged):
    with pytest.raises(ValueError, match="not a swatch"):
        Swatch.from_json(damaged)
    given = strong_adapter(base)
    with pytest.raises(AdapterError, match="no style adapter"):
        Adapter.from_bytes(Snapshot(given.tensors, given.manifest | {"swatch": damaged}).to_bytes())


def test_a_render_begins_with_laid_stitches(base):
    bare = strong_adapter(base)
    small = Swatch(*(one.resize((32, 32)) for one in (swatch().embroidery, swatch().design)), swatch().mask[::4, ::4])
    style = Adapter.from_bytes(replace(bare, swatch=small).to_bytes())
    config = render_config("flat", small=True, steps=10, strength=0.2, lay_stitches=True, bare_strength=0.6)
    request = RenderRequest(design=other_design()[0], config=config)
    progress = Recorder()
    laid = Renderer(base).render(style, request, progress)[0]
    assert max(total for stage, _, total in progress.updates if stage == "diffuse") == 2
    assert progress.previews, "the laid stitches are shown at once"
    without = Renderer(base).render(bare, request, progress)[0]
    assert max(total for stage, _, total in progress.updates if stage == "diffuse") == 6
    assert laid.patch.tobytes() != without.patch.tobytes()
    bare_config = replace(config, lay_stitches=False, strength=0.6, guidance=config.bare_guidance)
    plain = Renderer(base).render(bare, replace(request, config=bare_config))[0]
    assert without.patch.tobytes() == plain.patch.tobytes()


def test_every_seed_of_a_batch_has_its_own_laid_design(base):
    """As drawn alone, whatever else is in the batch; a level of rounding is allowed to differ."""
    config = render_config("flat", small=True, steps=10, strength=0.1, lay_stitches=True, hold_lightness=0.0)
    design = other_design(32)[0]
    many = sew(base, [design], [1, 2, 3], config, laid=lay(config, swatch(), [design], [1, 2, 3]))
    alone = sew(base, [design], [2], config, laid=lay(config, swatch(), [design], [2]))
    assert np.abs(np.asarray(many[1], int) - np.asarray(alone[0], int)).max() <= 1
    assert many[0].tobytes() != many[1].tobytes()


def test_twice_the_pixels_are_the_same_stitches_in_the_same_places():
    """From a photo with the pixels sharper than without, and scaled down again the same picture."""
    labels = sewn.label_map(2 * SIDE, 2 * SIDE)
    fine = sewn.sew(labels, 8.0)
    small = fine.resize((SIDE, SIDE), Image.Resampling.BOX)
    design = to_image(sewn.flat(sewn.label_map(SIDE, SIDE)))
    rich, poor = (Swatch(small, design, sewn.label_map(SIDE, SIDE) > 0, one) for one in (fine, None))
    laid = lay_stitches(rich, other_design()[0])
    large, blurred = (lay_finely(one, laid, other_design(2 * SIDE)[0]).picture for one in (rich, poor))
    assert large.size == (2 * SIDE, 2 * SIDE)
    again = np.asarray(large.resize((SIDE, SIDE), Image.Resampling.BOX), float)
    mask = cv2.erode(other_design()[1].astype(np.uint8), np.ones((9, 9))) > 0
    assert np.corrcoef(again[mask][:, 1], np.asarray(laid.picture, float)[mask][:, 1])[0, 1] > 0.8
    detail = [np.abs(np.diff(lightness(one), axis=0)).mean() for one in (large, blurred)]
    assert detail[0] > 1.1 * detail[1]
    kept = Swatch.from_json(rich.as_json())
    assert kept.fine.size == fine.size
    assert Swatch.from_json(poor.as_json()).fine is None


@pytest.mark.parametrize(("threads", "size"), [("same", None), ("same", 48), ("finer", None), ("finer", 48)])
def test_a_final_is_laid_at_its_own_size(base, monkeypatch, threads, size):
    small = Swatch(*(one.resize((32, 32)) for one in (swatch().embroidery, swatch().design)), swatch().mask[::4, ::4])
    drawn = []
    monkeypatch.setattr(
        "worker.engine.drawing.sew",
        lambda *given: drawn.append([one.picture.size for one in given[7]]) or sew(*given),
    )
    config = render_config("flat", small=True, steps=10, strength=0.1, quality="final", size=size, threads=threads)
    style = replace(strong_adapter(base), swatch=small)
    request = RenderRequest(design=other_design()[0], config=config, variations=2)
    progress = Recorder()
    pictures = [image.patch for image in Renderer(base).render(style, request, progress)]
    side = size or 64
    assert [picture.size for picture in pictures] == [(side, side)] * 2
    assert drawn == [[(32, 32)] * (2 if threads == "same" else 1), [(side, side)], [(side, side)]]
    assert pictures[0].tobytes() != pictures[1].tobytes()
    done, total = [(step, total) for stage, step, total in progress.updates if stage == "diffuse"][-1]
    assert done == total


def test_cloth_stays_plain_where_the_sample_shows_none():
    """A close photo of nothing but stitches embroiders the motif, not the cloth around it."""
    labels = np.ones((SIDE, SIDE), np.uint8)
    covered = Swatch(sewn.sew(labels), to_image(sewn.flat(labels)), labels > 0)
    design, mask = other_design()
    change = np.abs(lightness(lay_stitches(covered, design, mask).picture) - lightness(design))
    far = cv2.dilate(mask.astype(np.uint8), np.ones((17, 17))) == 0
    assert change[far].max() < 1
    assert change[mask].mean() > 3


def test_one_plain_colour_has_no_outline_and_is_sewn_all_over():
    plain = Image.new("RGB", (SIDE, SIDE), (60, 140, 70))
    laid = lay_stitches(swatch(), plain, np.ones((SIDE, SIDE), bool)).picture
    assert np.abs(lightness(laid) - lightness(plain)).mean() > 2


def test_a_style_of_a_photo_without_a_motif_lays_nothing(base):
    picture = stitched_photo(32)
    pair = Pair(picture, picture, np.zeros((32, 32), bool), "flatten", {})
    style = Adapter.from_bytes(train_style(base, replace(SOURCE, pair=pair), CONFIG).adapter)
    assert style.swatch is None


def test_shadows_of_stitches_do_not_fall_on_plain_cloth():
    """Legs of stitches reach over a jagged outline; a smooth one gets none of their shadows beside it."""
    period, labels = 8, np.zeros((SIDE, SIDE), np.uint8)
    for row in range(16, 112, period):
        labels[row : row + period, 24 : 100 + (row // period % 2) * period] = 1
    flat = np.where(labels[..., None] > 0, (200, 40, 40), (220, 220, 210)).astype(np.uint8)
    sewn_flat, hatch = flat.copy(), np.add.outer(np.arange(SIDE), np.arange(SIDE)) % period < 3
    sewn_flat[(labels > 0) & hatch] = (90, 10, 10)
    one = Swatch(Image.fromarray(sewn_flat), Image.fromarray(flat), labels > 0)
    design, mask = other_design()
    laid = lay_stitches(one, design, mask)
    darker = rgb_to_lab(laid.colours)[~mask][:, 0] - rgb_to_lab(laid.picture)[~mask][:, 0]
    assert (darker > 2).sum() < 40, "only at the outline itself"


def test_thread_of_the_cloths_colour_is_no_cloth():
    """White on white in the middle of a motif: its relief is laid on no cloth, though there it is on the left only."""
    side, rng = SIDE, np.random.default_rng(0)
    mask = np.zeros((side, side), bool)
    mask[20:100, :70] = True
    mask[40:84, :24] = False
    flat = np.where(mask[..., None], (200, 40, 40), (220, 220, 210)).astype(np.uint8)
    embroidery = np.clip(flat + rng.normal(0, 3, (side, side, 1)), 0, 255)
    hatch = np.add.outer(np.arange(side), np.arange(side)) % 6 < 3
    embroidery[40:84, :24][hatch[40:84, :24]] -= 90
    one = Swatch(Image.fromarray(embroidery.astype(np.uint8)), Image.fromarray(flat), mask)
    design, wanted = other_design()
    source = lay_stitches(one, design, wanted).source[~wanted]
    white = (source[:, 0] >= 40) & (source[:, 0] < 84) & (source[:, 1] < 24)
    assert white.mean() < 0.01

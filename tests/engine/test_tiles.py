"""Pictures larger than the base's side, and renders that are drawn twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.test_adapter import strong_adapter
from tests.engine.test_train import Recorder, stitched_photo
from worker.engine.adapter import Adapter
from worker.engine.colour import lab_colour_fix, lightness
from worker.engine.config import render_config, render_number
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.prepare import prepare_reference
from worker.engine.progress import Canceled
from worker.engine.sampling import conditions, control_of, denoise
from worker.engine.tiles import Tiling

FINAL = render_config("flat", small=True, steps=4, quality="final", refine_steps=2, threads="same")
REQUEST = RenderRequest(design=stitched_photo(), config=FINAL, seed=3)


@pytest.mark.parametrize(("side", "trained", "unit"), [(128, 64, 4), (192, 64, 4), (96, 64, 4), (16, 8, 4), (24, 8, 4)])
def test_tiles_cover_the_picture_and_overlap(side, trained, unit):
    cut = Tiling.over(side, trained, unit)
    assert cut.tile <= 1.25 * trained
    assert (cut.starts[0], cut.starts[-1] + cut.tile) == (0, side)
    assert all(number % unit == 0 for number in (cut.tile, *cut.starts))
    assert all(b - a < cut.tile for a, b in zip(cut.starts, cut.starts[1:], strict=False))


def test_what_is_small_enough_is_one_tile():
    assert Tiling.over(64, 64, 4) == Tiling(64, 64, (0,))
    assert len(Tiling.over(80, 64, 4)) == 1
    assert len(Tiling.over(128, 64, 4)) == 4


def test_blending_is_an_average_without_steps():
    cut = Tiling.over(128, 64, 4)
    x = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(cut.blend(x, lambda window, _top, _left: 2 * window), 2 * x, atol=1e-5)
    # Tiles that disagree wholly meet in a ramp, nowhere in a jump.
    ramp = cut.blend(torch.zeros(1, 1, 128, 128), lambda window, _top, left: window + (left > 0))[0, 0, 60]
    assert (ramp[0], ramp[-1]) == (0, 1)
    assert (ramp.diff() >= 0).all()
    assert ramp.diff().max() < 0.15


def test_tiles_see_their_place_their_control_and_no_more_than_their_window(base, monkeypatch):
    seen = []
    predict = base.predict

    def watched(x, t, prompts, ids, style, residuals):
        seen.append((tuple(x.shape), tuple(int(v) for v in ids[0]), residuals))
        return predict(x, t, prompts, ids, style, residuals)

    monkeypatch.setattr(base, "predict", watched)
    monkeypatch.setattr(base, "info", replace(base.info, crop_conditioning=True))
    config = render_config("flat", small=True, steps=1, guidance=1.0, strength=1.0)
    control = control_of(base, [stitched_photo(64)], 1.0, 1.0)
    noise = torch.randn(1, base.latent_channels, 16, 16)
    denoise(base, noise, conditions(base, "", config, control), config, start=torch.zeros_like(noise))
    assert len(seen) == 9
    assert {shape for shape, _, _ in seen} == {(1, base.latent_channels, 8, 8)}
    assert sorted(ids for _, ids, _ in seen)[1] == (32, 32, 0, 8, 16, 16)  # a 32 px tile 16 px from the left of 64
    assert torch.equal(seen[-1][2].down[0], control.down[0][..., 8:, 8:])


@pytest.mark.parametrize("threads", ["same", "finer"])
def test_a_final_has_twice_the_pixels_and_shows_its_draft(base, threads):
    progress = Recorder()
    request = replace(REQUEST, config=replace(FINAL, threads=threads), variations=2)
    images = Renderer(base).render(strong_adapter(base), request, progress)
    assert [image.patch.size for image in images] == [(64, 64), (64, 64)]
    assert images[0].cutout.size == images[0].design.size == (64, 64)
    (draft,) = progress.previews
    assert draft.size == (32, 32)
    steps = [(step, total) for stage, step, total in progress.updates if stage == "diffuse"]
    assert steps == sorted(steps), "progress counts both drawings as one"
    assert steps[-1][0] == steps[-1][1]
    assert len({total for _, total in steps}) == 1
    again = Renderer(base).render(strong_adapter(base), request)
    assert [image.patch.tobytes() for image in again] == [image.patch.tobytes() for image in images]
    alone = Renderer(base).render(strong_adapter(base), replace(request, seed=4, variations=1))[0]
    difference = np.asarray(alone.patch, int) - np.asarray(images[1].patch, int)
    assert np.abs(difference).max() <= 2, "a variation is what its seed alone gives"


def test_the_draft_of_a_final_is_the_draft(base):
    progress = Recorder()
    Renderer(base).render(None, REQUEST, progress)
    (draft,) = Renderer(base).render(None, replace(REQUEST, config=replace(FINAL, quality="draft")))
    assert progress.previews[0].tobytes() == draft.patch.tobytes()


def test_the_same_threads_stay_where_the_draft_has_them(base):
    (draft,) = Renderer(base).render(None, replace(REQUEST, config=replace(FINAL, quality="draft")))

    def distance(**changes):
        (image,) = Renderer(base).render(None, replace(REQUEST, config=replace(FINAL, refine_strength=0.8, **changes)))
        small = image.patch.resize((32, 32), Image.Resampling.BOX)
        return float(np.abs(lightness(small) - lightness(draft.patch)).mean())

    assert distance(refine_hold=0.75) < 0.5 * distance(refine_hold=0.0)


def test_a_final_of_a_brief_is_drawn_from_its_draft(base):
    config = render_config("text", small=True, steps=2, quality="final", threads="finer")
    progress = Recorder()
    (image,) = Renderer(base).render(None, RenderRequest(brief="a zeppelin", config=config), progress)
    assert image.patch.size == (64, 64)
    assert len(progress.previews) == 1


@pytest.mark.parametrize("at", [3, 12])
def test_cancel_in_either_drawing(base, at):
    with pytest.raises(Canceled):
        Renderer(base).render(strong_adapter(base), REQUEST, Recorder(stop_at=("diffuse", at)))


@pytest.mark.parametrize(("motif", "finer"), [(28.0, False), (60.0, True), (None, False)])
def test_threads_follow_the_sample(base, motif, finer):
    adapter = strong_adapter(base)
    manifest = adapter.manifest if motif is None else {**adapter.manifest, "motif_px": motif}
    given = Adapter(adapter.tensors, manifest)

    def drawn(threads):
        (image,) = Renderer(base).render(given, replace(REQUEST, config=replace(FINAL, threads=threads)))
        return image.patch.tobytes()

    assert drawn("sample") == drawn("finer" if finer else "same")


def test_the_motif_is_measured_at_the_scale_that_is_learnt():
    prepared = prepare_reference(stitched_photo(320), 256, crop="motif")
    assert 0.7 * 256 < prepared.motif_px < 256
    closer = prepare_reference(stitched_photo(320), 256, crop=(130, 130, 210, 210))
    assert closer.motif_px > 1.5 * 256


def test_lightness_is_held_above_its_sigma_only():
    rng = np.random.default_rng(0)
    design = np.full((96, 96, 3), 140, np.uint8)
    threads = 20 * np.sign(np.sin(np.arange(96) * 2 * np.pi / 4 + 0.4))[None, :, None]
    blotch = np.linspace(-25, 25, 96)[:, None, None]
    result = (design + threads + blotch + rng.normal(0, 1, design.shape)).clip(0, 255).astype(np.uint8)
    held = lightness(lab_colour_fix(result, design, hold_lightness=8))
    assert abs(held[:24].mean() - held[-24:].mean()) < 1.5 < abs(lightness(result)[:24].mean() - held[-24:].mean())
    assert held[40:56].std() > 0.9 * lightness(result)[40:56].std()
    assert abs(held.mean() - lightness(design).mean()) < 1


def test_numbers_from_words():
    assert render_number("sampler=euler") == {"sampler": "euler"}
    assert render_number("hold_lightness=10") == {"hold_lightness": 10.0}
    assert render_number("route=false") == {"route": False}
    assert render_number("size=384") == {"size": 384}
    for wrong in ("sampler=magic", "shine=3", "steps", "steps=many", "route=maybe"):
        with pytest.raises(ValueError):
            render_number(wrong)

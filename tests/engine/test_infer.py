"""Rendering on a tiny random base."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.test_adapter import strong_adapter
from tests.engine.test_train import Recorder, stitched_photo
from worker.engine.adapter import Adapter, AdapterError
from worker.engine.bases import image_to_tensor
from worker.engine.colour import lab_colour_fix, rgb_to_lab
from worker.engine.config import RENDER_PRESETS, render_config
from worker.engine.drawing import sew
from worker.engine.infer import GarmentPlacement, Renderer, RenderRequest, cut_out
from worker.engine.progress import Canceled
from worker.engine.sampling import conditions, denoise

FLAT = render_config("flat", small=True, steps=4, preview_every=2)
REQUEST = RenderRequest(design=stitched_photo(), config=FLAT, seed=3)


def pixels(rendered):
    return [np.asarray(image.patch, dtype=int) for image in rendered]


def test_a_design_becomes_a_patch_of_the_bases_size(base):
    progress = Recorder()
    (image,) = Renderer(base).render(strong_adapter(base), REQUEST, progress)
    assert image.patch.size == image.cutout.size == image.design.size == (32, 32)
    assert (image.patch.mode, image.cutout.mode) == ("RGB", "RGBA")
    assert (image.index, image.seed, image.garment) == (0, 3, None)
    assert [stage for stage, _, _ in progress.updates if stage == "diffuse"]
    assert progress.previews


def test_the_same_seed_gives_the_same_picture(base):
    renderer, adapter = Renderer(base), strong_adapter(base)
    first, again = (renderer.render(adapter, REQUEST)[0] for _ in range(2))
    assert first.patch.tobytes() == again.patch.tobytes()
    other = renderer.render(adapter, replace(REQUEST, seed=4))[0]
    assert other.patch.tobytes() != first.patch.tobytes()


def test_a_variation_is_what_its_seed_alone_gives(base):
    """Whatever else was drawn in the same batch; a level of rounding is allowed to differ."""
    renderer = Renderer(base)
    many = renderer.render(None, replace(REQUEST, variations=6))
    assert [image.seed for image in many] == [3, 4, 5, 6, 7, 8]
    for image in (many[1], many[5]):
        alone = renderer.render(None, replace(REQUEST, seed=image.seed))[0]
        assert np.abs(pixels([alone])[0] - pixels([image])[0]).max() <= 1


def test_the_adapter_changes_the_picture_and_leaves_the_base(base):
    renderer = Renderer(base)
    plain = renderer.render(None, REQUEST)[0].patch.tobytes()
    assert renderer.render(strong_adapter(base), REQUEST)[0].patch.tobytes() != plain
    assert renderer.render(None, REQUEST)[0].patch.tobytes() == plain


def test_the_colour_fix_takes_the_designs_colours(base):
    own_light = replace(FLAT, hold_lightness=0.0)
    (fixed,) = Renderer(base).render(None, replace(REQUEST, config=own_light))
    (free,) = Renderer(base).render(None, replace(REQUEST, config=replace(own_light, colour_fix=False)))
    assert fixed.patch.tobytes() == lab_colour_fix(free.patch, fixed.design).tobytes()
    assert np.abs(rgb_to_lab(free.patch)[..., 0] - rgb_to_lab(fixed.patch)[..., 0]).mean() < 3  # its own lightness


def test_lightness_is_held_to_the_designs_unless_told_otherwise(base):
    held, free = (
        Renderer(base).render(None, replace(REQUEST, config=replace(FLAT, hold_lightness=sigma)))[0]
        for sigma in (FLAT.hold_lightness, 0.0)
    )
    off = [
        np.abs(cv2.blur(rgb_to_lab(one.patch)[..., 0] - rgb_to_lab(one.design)[..., 0], (16, 16))).mean()
        for one in (held, free)
    ]
    assert FLAT.hold_lightness > 0
    assert off[0] < 0.5 * off[1]


def test_text_from_noise_with_guidance(base):
    config = render_config("text", small=True, steps=3)
    request = RenderRequest(brief="a red fox", config=config, variations=2)
    first, second = Renderer(base).render(strong_adapter(base), request)
    assert first.patch.tobytes() != second.patch.tobytes()
    assert first.design is None
    other = Renderer(base).render(strong_adapter(base), replace(request, brief="a blue whale"))[0]
    assert other.patch.tobytes() != first.patch.tobytes()


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpm"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_samplers_run_from_any_strength(base, epsilon_base, sampler, strength):
    for each in (base, epsilon_base):
        config = replace(FLAT, sampler=sampler, strength=strength, guidance=2.0)
        (picture,) = sew(each, [stitched_photo(32)], [1], config)
        assert picture.size == (32, 32)


def test_low_strength_keeps_the_design(base):
    design = stitched_photo(32)
    start = base.encode_images(image_to_tensor([design]))
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(0))

    def distance(strength):
        config = replace(FLAT, strength=strength, steps=20)
        return float((denoise(base, noise, conditions(base, "", config), config, start=start) - start).abs().mean())

    assert distance(0.05) < distance(0.6)


def test_no_guidance_runs_the_base_once_a_step(base, monkeypatch):
    batches = []
    predict = base.predict
    monkeypatch.setattr(base, "predict", lambda x, *rest: batches.append(len(x)) or predict(x, *rest))
    config = replace(FLAT, strength=1.0, guidance=1.0, bare_guidance=0.0)
    sew(base, [stitched_photo(32)], [1], config)
    assert batches == [1, 1, 1, 1]
    batches.clear()
    sew(base, [stitched_photo(32)], [1], replace(config, guidance=3.0))
    assert batches == [2, 2, 2, 2]


def test_other_sizes_are_rounded_to_what_the_unet_can_draw(base):
    (image,) = Renderer(base).render(None, replace(REQUEST, config=replace(FLAT, size=50)))
    assert image.patch.size == (48, 48)


def test_cancel_between_steps(base):
    with pytest.raises(Canceled):
        Renderer(base).render(strong_adapter(base), REQUEST, Recorder(stop_at=("diffuse", 2)))


def test_on_a_garment(base):
    garment = Image.new("RGB", (160, 120), (70, 90, 130))
    corners = ((50, 30), (110, 30), (110, 90), (50, 90))
    (image,) = Renderer(base).render(None, replace(REQUEST, garment=GarmentPlacement(garment, corners)))
    assert image.garment.size == garment.size
    assert image.garment.getpixel((2, 2)) == garment.getpixel((2, 2))
    assert image.garment.tobytes() != garment.tobytes()


def test_cutouts_are_soft_and_whole():
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    patch = Image.fromarray(np.where(mask[..., None], (180, 20, 30), (230, 220, 200)).astype(np.uint8))
    alpha = np.asarray(cut_out(patch, mask).getchannel("A"))
    assert alpha[18:46, 18:46].min() > 250
    assert alpha[16:48, 16:48].min() > 100
    assert alpha[0, 0] == 0
    assert ((alpha > 0) & (alpha < 255)).any()


def test_a_style_of_another_base_is_refused(base):
    with pytest.raises(AdapterError):
        Renderer(base).render(
            Adapter(
                {"unet.nowhere.lora_A.weight": torch.zeros(1, 1), "unet.nowhere.lora_B.weight": torch.zeros(1, 1)},
                {"style_blocks": list(base.info.style_blocks)},
            ),
            REQUEST,
        )


def test_requests_are_either_a_design_or_a_brief():
    for wrong in ({}, {"brief": "  "}, {"design": stitched_photo(), "brief": "a fox"}):
        with pytest.raises(ValueError, match="either a design or a brief"):
            RenderRequest(**wrong)
    with pytest.raises(ValueError, match="variation"):
        RenderRequest(brief="a fox", variations=0)


def test_presets():
    assert (RENDER_PRESETS["flat"].strength, RENDER_PRESETS["flat"].guidance) == (0.95, 7.0)
    assert RENDER_PRESETS["raised"].control_edge == 0
    with pytest.raises(ValueError, match="there are flat, raised"):
        render_config("shiny", small=False)

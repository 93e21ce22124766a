"""The whole road on a base of SDXL's own classes: KL autoencoder, Euler's schedule, ControlNets, epsilon."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.test_train import stitched_photo
from tests.engine.tiny_sdxl import SIDE, save_tiny_sdxl
from worker.engine.adapter import Adapter, style_on
from worker.engine.bases import Base, load_base
from worker.engine.config import ComplementConfig, render_config, train_config
from worker.engine.control import LiveControl, join_residuals
from worker.engine.control_maps import edge_map
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.memory import plan
from worker.engine.routing import attention_blocks
from worker.engine.sampling import control_of
from worker.engine.train import PairInput, train_style

if TYPE_CHECKING:
    from pathlib import Path

    from worker.engine.train import TrainedStyle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sdxl(tmp_path_factory.mktemp("tiny-sdxl"))


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    loaded = load_base(folder)
    loaded.autocast_dtype = None
    return loaded


@pytest.fixture(scope="module")
def style(base: Base) -> TrainedStyle:
    config = train_config(
        "paper",
        stage_one_steps=3,
        total_steps=5,
        rank=4,
        analysis_steps=0,
        sample_designs=1,
        preview_every=0,
        complement=ComplementConfig(count=2, steps=2, feature_steps=10),
    )
    return train_style(base, PairInput(stitched_photo(), caption="patch"), config)


def design() -> Image.Image:
    picture = np.full((SIDE, SIDE, 3), 230, np.uint8)
    picture[16:48, 16:48] = (200, 30, 40)
    return Image.fromarray(picture)


def inputs(base: Base, count: int = 2) -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(3)
    cells = SIDE // base.downscale
    return {
        "latents": torch.randn(count, 4, cells, cells, generator=source),
        "timesteps": torch.tensor([700, 20][:count]),
    }


def test_blocks_have_sdxls_names_and_the_papers_four_are_its_style_blocks(base: Base) -> None:
    names = list(attention_blocks(base.unet))
    assert names == [
        *(f"down_blocks.{block}.attentions.{index}" for block in (1, 2) for index in (0, 1)),
        "mid_block.attentions.0",
        *(f"up_blocks.{block}.attentions.{index}" for block in (0, 1) for index in (0, 1, 2)),
    ]
    assert set(base.info.style_blocks) < set(names)


def test_controlnets_steer_in_every_step_as_diffusers_would(base: Base) -> None:
    given = inputs(base)
    prompts = base.encode_prompts(["a red fox"])
    ids = base.time_ids(SIDE)
    control = control_of(base, [design()], tile_scale=0.5, edge_scale=0.8)
    assert isinstance(control, LiveControl)
    ours = base.predict(given["latents"], given["timesteps"], prompts, ids, residuals=control)

    hidden, pooled = prompts.hidden.expand(2, -1, -1), prompts.pooled.expand(2, -1)
    added = {"text_embeds": pooled, "time_ids": ids.expand(2, -1)}
    down, mid = None, None
    with torch.no_grad():
        for net, image, scale in zip(control.nets, control.maps, control.scales, strict=True):
            one_down, one_mid = net(
                given["latents"], given["timesteps"], hidden, image.expand(2, -1, -1, -1), scale,
                added_cond_kwargs=added, return_dict=False,
            )  # fmt: skip
            down = one_down if down is None else [a + b for a, b in zip(down, one_down, strict=True)]
            mid = one_mid if mid is None else mid + one_mid
        theirs = base.unet(
            given["latents"], given["timesteps"], hidden, added_cond_kwargs=added,
            down_block_additional_residuals=tuple(down), mid_block_additional_residual=mid, return_dict=False,
        )[0]  # fmt: skip
    assert torch.allclose(ours, theirs, atol=1e-5)
    plain = base.predict(given["latents"], given["timesteps"], prompts, ids)
    assert not torch.allclose(ours, plain, atol=1e-3)


def test_the_maps_are_what_the_nets_were_trained_on(base: Base) -> None:
    control = control_of(base, [design()], tile_scale=0.0, edge_scale=1.0)
    assert isinstance(control, LiveControl)
    assert control.nets == (base.controls["edge"],)
    (image,) = control.maps
    assert image.shape == (1, 3, SIDE, SIDE)
    assert np.array_equal(image[0, 1].numpy(), edge_map(np.asarray(design())))
    assert control_of(base, [design()], 0.0, 0.0) is None


def test_live_control_is_cut_and_joined_like_residuals(base: Base) -> None:
    control = control_of(base, [design(), design().rotate(90)], 1.0, 1.0)
    assert isinstance(control, LiveControl)
    assert control.batch == 2
    part = control.item(1).crop(2, 4, 4)
    f = base.downscale
    assert torch.equal(part.maps[0], control.maps[0][1:, :, 2 * f : 6 * f, 4 * f : 8 * f])
    joined = join_residuals([control.item(0), control.item(1)])
    assert isinstance(joined, LiveControl)
    assert all(torch.equal(a, b) for a, b in zip(joined.maps, control.maps, strict=True))
    assert control.item(0).repeat(3).batch == 3
    with pytest.raises(ValueError, match="different kinds"):
        join_residuals([control, object()])  # type: ignore[list-item]


def test_both_stages_train_and_only_style_blocks_are_kept(base: Base, style: TrainedStyle) -> None:
    adapter = Adapter.from_bytes(style.adapter)
    assert adapter.manifest["base"] == {"name": "tiny-sdxl", "version": "1"}
    assert {".".join(name.split(".")[1:5]) for name in adapter.tensors} == set(base.info.style_blocks)
    assert all(len(curve) > 0 for curve in style.report["losses"].values())
    assert any(tensor.abs().max() > 0 for name, tensor in adapter.tensors.items() if "lora_B" in name)


def test_a_style_renders_designs_with_control_and_words_without(base: Base, style: TrainedStyle) -> None:
    adapter = replace(Adapter.from_bytes(style.adapter), swatch=None)
    config = render_config("flat", small=False, steps=3)
    drawn = Renderer(base).render(adapter, RenderRequest(design=design(), config=config))[0]
    assert drawn.patch.size == (SIDE, SIDE)
    words = Renderer(base).render(adapter, RenderRequest(brief="a red fox", config=config))[0]
    # SDXL knows what a fox is: no drawing of ours is put in its place.
    assert not [notice for notice in words.warnings if notice.code == "drawn_by_hoop"]
    uncontrolled = replace(config, control_edge=0.0, control_tile=0.0)
    free = Renderer(base).render(adapter, RenderRequest(design=design(), config=uncontrolled))[0]
    assert np.abs(np.asarray(free.patch, int) - np.asarray(drawn.patch, int)).max() > 2


def test_large_pictures_are_drawn_in_tiles_with_control(base: Base, style: TrainedStyle) -> None:
    adapter = replace(Adapter.from_bytes(style.adapter), swatch=None)
    config = render_config("flat", small=False, steps=2, quality="final")
    drawn = Renderer(base).render(adapter, RenderRequest(design=design(), config=config))[0]
    assert drawn.patch.size == (2 * SIDE, 2 * SIDE)


def test_the_adapter_gives_the_same_output_in_a_stock_pipeline(
    base: Base, folder: Path, style: TrainedStyle, tmp_path: Path
) -> None:
    from diffusers import StableDiffusionXLPipeline

    (tmp_path / "style.safetensors").write_bytes(style.adapter)
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder)
    pipeline.load_lora_weights(tmp_path, weight_name="style.safetensors")
    given, prompts, ids = inputs(base), base.encode_prompts(["a fox"]), base.time_ids(SIDE)
    with style_on(base, Adapter.from_bytes(style.adapter)):
        ours = base.predict(given["latents"], given["timesteps"], prompts, ids)
    with torch.no_grad():
        theirs = pipeline.unet(
            given["latents"], given["timesteps"], prompts.hidden.expand(2, -1, -1),
            added_cond_kwargs={"text_embeds": prompts.pooled.expand(2, -1), "time_ids": ids.expand(2, -1)},
        ).sample  # fmt: skip
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_savings_change_where_things_wait_and_not_what_comes_out(folder: Path, base: Base) -> None:
    frugal = load_base(folder, savings=("text_encoders_aside", "vae_tiling", "controls_aside"))
    frugal.autocast_dtype = None
    assert torch.equal(frugal.encode_prompts(["a fox"]).hidden, base.encode_prompts(["a fox"]).hidden)
    control = control_of(frugal, [design()], 1.0, 1.0)
    given, ids = inputs(base), base.time_ids(SIDE)
    prompts = base.encode_prompts(["a fox"])
    there = frugal.predict(given["latents"], given["timesteps"], prompts, ids, residuals=control)
    here = base.predict(
        given["latents"], given["timesteps"], prompts, ids, residuals=control_of(base, [design()], 1.0, 1.0)
    )
    assert torch.equal(there, here)


def test_the_plan_saves_no_more_than_it_has_to(folder: Path) -> None:
    order = ("text_encoders_aside", "vae_tiling", "checkpointing", "controls_aside")
    roomy = plan(folder, 80e9, order, torch.bfloat16)
    assert roomy.savings == ()
    assert roomy.fits
    needs = []
    for count in range(len(order) + 1):
        tight = plan(folder, 0, order[:count], torch.bfloat16)
        assert tight.savings == order[:count]
        assert not tight.fits
        needs.append(tight.need)
    assert needs[1].weights < needs[0].weights
    assert needs[2].rendering < needs[1].rendering / 2, "one picture at a time"
    assert needs[3].training < needs[2].training
    assert needs[4].weights < needs[3].weights
    between = plan(folder, needs[1].total / 0.92 + 1, order, torch.bfloat16)
    assert between.savings == order[:1]
    assert "text encoders wait" in between.describe()
    # What was tried first and did not help, as training in less memory where rendering needs more, is not done.
    enough = plan(folder, needs[1].total / 0.92 + 1, ("checkpointing", *order[:1]), torch.bfloat16)
    assert enough.savings == order[:1]
    assert enough.fits
    # Where the estimate was too low, the next ones in order are added.
    assert plan(folder, 80e9, order, torch.bfloat16, more=1).savings == order[:1]
    assert plan(folder, needs[1].total / 0.92 + 1, order, torch.bfloat16, more=2).savings == order[:3]
    assert plan(folder, 80e9, order, torch.bfloat16, more=9).savings == order


def test_a_worker_that_only_renders_is_not_planned_as_if_it_trained(folder: Path) -> None:
    order = ("checkpointing", "text_encoders_aside", "vae_tiling", "controls_aside")
    rank = 1024  # so that this tiny base's training needs more than its rendering, as a large one's does
    both = plan(folder, 0, (), torch.bfloat16, rank)
    alone = plan(folder, 0, (), torch.bfloat16, trains=False)
    assert alone.need.training == 0
    assert (alone.need.weights, alone.need.rendering) == (both.need.weights, both.need.rendering)
    assert both.need.training > both.need.rendering
    assert "for rendering alone" in alone.describe()
    assert "for training and rendering" in both.describe()
    # So a card that is too small for both is large enough for rendering.
    between = (both.need.total + alone.need.total) / 2 / 0.92
    assert plan(folder, between, (), torch.bfloat16, trains=False).fits
    assert not plan(folder, between, (), torch.bfloat16, rank).fits
    tight = plan(folder, 0, order, torch.bfloat16, trains=False)
    assert tight.savings == order[1:], "rendering keeps nothing that it could compute twice"
    # After memory ran out, what is saved more is of use.
    assert plan(folder, 80e9, order, torch.bfloat16, more=1, trains=False).savings == order[1:2]

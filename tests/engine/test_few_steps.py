"""Drafts in few steps: a LoRA on the whole UNet beside the style's, and whether a style bears it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save

from tests.engine.test_adapter import strong_adapter
from tests.engine.test_batch import design, off
from tests.engine.test_train import stitched_photo
from tests.engine.tiny_sdxl import SIDE, save_tiny_sdxl
from worker.engine.adapter import Adapter, AdapterError, style_on
from worker.engine.base_info import BaseInfo, FewStepsInfo
from worker.engine.bases import load_base
from worker.engine.config import ComplementConfig, render_config, train_config
from worker.engine.drawing import sew
from worker.engine.few_steps import DRAFT, DRAFT_LIMIT, compare_draft, few_steps_of, read_speed_up, speed_up_for
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.train import PairInput, train_style

FILE = "pytorch_lora_weights.safetensors"
DRAFTED = {DRAFT: {"distance": 0.1, "allowed": True}}
# As peft's target_modules of the distillation's script say.
TARGETS = (
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj"),
)


def speed_up(unet, rank=4, alpha=2.0, strength=0.3):
    """A file with the names that latent consistency LoRAs have: kohya's prefix, diffusers' layers, underscores."""
    source, tensors = torch.Generator().manual_seed(7), {}
    for name, module in unet.named_modules():
        if not name.endswith(TARGETS) or not isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            continue
        outer, inner, *taps = module.weight.shape
        key = f"lora_unet_{name.replace('.', '_')}"
        tensors[f"{key}.lora_down.weight"] = torch.randn(rank, inner, *taps, generator=source) * strength
        tensors[f"{key}.lora_up.weight"] = torch.randn(outer, rank, *(1 for _ in taps), generator=source) * strength
        tensors[f"{key}.alpha"] = torch.tensor(alpha)
    return tensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = save_tiny_sdxl(tmp_path_factory.mktemp("tiny-sdxl"))
    (made / "few_steps").mkdir()
    (made / "few_steps" / FILE).write_bytes(save(speed_up(load_base(made).unet)))
    replace(BaseInfo.read(made), few_steps=FewStepsInfo(FILE)).write(made)
    return made


@pytest.fixture(scope="module")
def fast(folder):
    made = load_base(folder)
    made.autocast_dtype = None
    before = {name: parameter.clone() for name, parameter in made.unet.named_parameters()}
    yield made
    assert all(torch.equal(parameter, before[name]) for name, parameter in made.unet.named_parameters())


def test_all_layers_are_read_and_merged_convolutions_too(fast):
    found = few_steps_of(fast)
    assert (found.sampler, found.steps, found.guidance, found.skipped) == ("lcm", 4, 1.0, ())
    assert few_steps_of(fast) is found
    assert {name.rpartition(".")[2] for name in found.layers} >= {"conv1", "conv", "time_emb_proj", "proj_in", "to_q"}
    raw = speed_up(fast.unet)
    before = {name: fast.unet.get_submodule(name).weight.clone() for name in found.layers}
    with style_on(fast, None, [found.layers]):
        for name in found.layers:
            key = f"lora_unet_{name.replace('.', '_')}"
            down, up = raw[f"{key}.lora_down.weight"], raw[f"{key}.lora_up.weight"]
            change = 0.5 * (up.flatten(1) @ down.flatten(1)).view(before[name].shape)  # alpha 2 of rank 4
            assert torch.allclose(fast.unet.get_submodule(name).weight, before[name] + change, atol=1e-5)


def test_other_names_are_read_and_what_cannot_be_merged_is_said(fast):
    layer = "down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q"
    size = fast.unet.get_submodule(layer).weight.shape
    half = {"A": torch.ones(2, size[1]), "B": torch.ones(size[0], 2)}
    for name in (layer, f"unet.{layer}", f"base_model.model.{layer}"):
        found, skipped = read_speed_up(save({f"{name}.lora_{side}.weight": half[side] for side in "AB"}), fast.unet)
        assert list(found) == [layer]
        assert skipped == ()
    strange = {f"lora_unet_nowhere.lora_{side}.weight": half[end].clone() for side, end in (("down", "A"), ("up", "B"))}
    found, skipped = read_speed_up(save({f"unet.{layer}.lora_{s}.weight": half[s] for s in "AB"} | strange), fast.unet)
    assert skipped == ("lora_unet_nowhere",)
    with pytest.raises(AdapterError, match="no layers"):
        read_speed_up(save(strange), fast.unet)


def test_drafts_use_it_and_finals_do_not(fast, monkeypatch):
    config = render_config("flat", small=False, steps=6)
    steps = []
    predict = fast.predict
    monkeypatch.setattr(fast, "predict", lambda x, t, *rest: steps.append((len(x), int(t[0]))) or predict(x, t, *rest))
    style = strong_adapter(fast)
    bears = Adapter(style.tensors, style.manifest | DRAFTED)
    fails = Adapter(style.tensors, style.manifest | {DRAFT: {"distance": 0.9, "allowed": False}})

    def timesteps(adapter, numbers):
        steps.clear()
        Renderer(fast).render(adapter, RenderRequest(design=design(1), config=numbers))
        return list(steps)

    assert timesteps(bears, config) == [(1, 999), (1, 759), (1, 499), (1, 259)]  # without guidance
    assert timesteps(None, config) == timesteps(bears, config)
    assert {batch for batch, _ in timesteps(fails, config)} == {2}
    assert {batch for batch, _ in timesteps(style, config)} == {2}  # never measured
    assert {batch for batch, _ in timesteps(bears, replace(config, few_steps=False))} == {2}
    # Text too.
    steps.clear()
    Renderer(fast).render(bears, RenderRequest(brief="a fox", config=config))
    assert len(steps) == 4
    final = replace(config, quality="final")
    assert speed_up_for(fast, bears, final) is None
    assert {batch for batch, _ in timesteps(bears, final)} == {2}


@pytest.mark.parametrize("sampler", ["lcm", "tcd"])
def test_a_seed_gives_one_picture_alone_or_in_a_batch(fast, base, sampler):
    for each in (fast, base):
        side = each.info.resolution
        small = each.info.split_prompts
        config = render_config("flat", small=small, sampler=sampler, steps=4, guidance=1.0, few_steps=False)
        config = replace(config, strength=1.0, lay_stitches=False, bare_guidance=0.0)
        flat = design(1, side)
        pictures = sew(each, [flat], [1, 2], config)
        for seed, picture in zip((1, 2), pictures, strict=True):
            assert off(sew(each, [flat], [seed], config), [picture]) <= 1
        assert off([pictures[0]], [pictures[1]]) > 3


def test_drafts_in_several_styles_are_one_batch(fast):
    config = render_config("flat", small=False)
    styles = [
        Adapter(one.tensors, one.manifest | DRAFTED) for one in (strong_adapter(fast, 1), strong_adapter(fast, 2))
    ]
    requests = [
        (adapter, RenderRequest(design=design(seed), config=config, seed=seed))
        for seed, adapter in enumerate([*styles, None])
    ]
    alone = [Renderer(fast).render(adapter, request)[0].patch for adapter, request in requests]
    together = [images[0].patch for images in Renderer(fast).render_many(requests)]
    assert off(alone, together) <= 2


def test_stitches_that_differ_forbid_drafts():
    photo, mask = stitched_photo(128), np.ones((128, 128), bool)
    same = compare_draft(photo, photo, mask)
    assert (same.distance, same.allowed) == (0.0, True)
    flat = compare_draft(design(1, 128), photo, mask)
    assert flat.distance > DRAFT_LIMIT
    assert not flat.allowed


def test_a_training_measures_it_and_the_style_remembers(fast):
    config = train_config(
        "paper", stage_one_steps=1, total_steps=2, rank=2, analysis_steps=0, sample_designs=1, preview_every=0,
        complement=ComplementConfig(count=1, steps=1, feature_steps=0),
    )  # fmt: skip
    style = train_style(fast, PairInput(stitched_photo(SIDE)), config)
    draft = style.report[DRAFT]
    assert draft["allowed"] == (draft["distance"] <= DRAFT_LIMIT)
    assert Adapter.from_bytes(style.adapter).manifest[DRAFT] == draft == style.manifest[DRAFT]


def test_a_base_without_its_file_or_with_a_damaged_one_draws_as_usual(fast, folder, tmp_path, monkeypatch):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "few_steps" / FILE).write_bytes(b"nothing")
    damaged, said = load_base(copy), []
    monkeypatch.setattr("worker.engine.few_steps.log.warning", lambda words, *_: said.append(words))
    assert few_steps_of(damaged) is None
    assert ["cannot be used" in words for words in said] == [True]
    assert speed_up_for(damaged, None, render_config("flat", small=False)) is None
    shutil.rmtree(copy / "few_steps")
    assert few_steps_of(load_base(copy)) is None


def test_other_bases_have_none(base):
    assert base.info.few_steps is None
    assert few_steps_of(base) is None
    assert speed_up_for(base, None, render_config("flat", small=True)) is None


@pytest.mark.parametrize("first", [0x80, 0x280, ord("P") | ord("K") << 8])
def test_a_headers_length_is_not_taken_for_a_pickle(fast, first):
    layer = "unet.down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q"
    size = fast.unet.get_submodule(layer.removeprefix("unet.")).weight.shape
    half = {"A": torch.ones(2, size[1]), "B": torch.ones(size[0], 2)}
    data = save({f"{layer}.lora_{side}.weight": half[side] for side in "AB"})
    length = int.from_bytes(data[:8], "little")
    wanted = first if first >= length else first + 0x400
    padded = wanted.to_bytes(8, "little") + data[8 : 8 + length].ljust(wanted) + data[8 + length :]
    assert padded[:1] in (b"\x80", b"P")
    assert read_speed_up(padded, fast.unet)[0]

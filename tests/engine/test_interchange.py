"""Styles to and from the LoRA files of other programs, measured against diffusers' own reading of them."""

import json

import pytest
import safetensors.torch
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from diffusers.utils import convert_unet_state_dict_to_peft
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.engine.test_adapter import strong_adapter
from tests.engine.tiny_base import CHANNELS
from worker.engine.adapter import TARGETS, Adapter, AdapterError, applied, style_on, training_lora
from worker.engine.base_info import BaseInfo
from worker.engine.checkpoint import Snapshot
from worker.engine.config import render_config
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.interchange import for_base, is_sdxl, outline, read_lora, write_lora
from worker.engine.layer_names import block_of, from_dotted, from_kohya, to_kohya
from worker.engine.quilt import Swatch
from worker.engine.routing import attention_blocks

LAYER = "unet.down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q"
LAYOUTS = ("diffusers", "kohya", "kohya-diffusers")
SDXL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
}


@pytest.fixture(scope="module")
def sdxl():
    with torch.device("meta"):
        return UNet2DConditionModel(**SDXL)


@pytest.fixture(scope="module")
def attention_layers(sdxl):
    return [name for name, _ in sdxl.named_modules() if ".attn" in name and name.endswith(TARGETS)]


@pytest.fixture
def adapter(base):
    """A style adapter with the manifest and the swatch of a trained one."""
    plain = strong_adapter(base)
    picture = Image.effect_noise((32, 32), 60).convert("RGB")
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[8:24, 8:24] = True
    fine = Image.effect_noise((64, 64), 60).convert("RGB")
    manifest = {
        "format": "hoop-style/1",
        "hoop_version": "0.1.0",
        "base": {"name": base.info.name, "version": base.info.version},
        "caption": "a fox",
        "style_word": "emb",
        **plain.manifest,
    }
    return Adapter(plain.tensors, manifest, Swatch(picture, picture, mask.numpy(), fine))


def file_of(tensors, metadata=None):
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata)


def lora(layer="down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q", rank=2, dtype=torch.float32):
    a, b = torch.randn(rank, CHANNELS[1]), torch.randn(CHANNELS[1], rank)
    return {f"unet.{layer}.lora_A.weight": a.to(dtype), f"unet.{layer}.lora_B.weight": b.to(dtype)}


def renamed(adapter, *spelling):
    """The adapter's tensors by other names: (down, up) with the layer's path for {}, and its to_q alone for {to}."""
    tensors = {}
    for name, halves in adapter.layers.items():
        attention, _, to = name.replace(".to_out.0", ".to_out").rpartition(".")
        tensors |= {
            pattern.format(name, attention=attention, to=to): half
            for pattern, half in zip(spelling, halves, strict=True)
        }
    return tensors


def same(tensors, expected):
    return set(tensors) == set(expected) and all(torch.equal(tensors[name], expected[name]) for name in expected)


# Names


def test_the_paper_s_style_blocks_have_their_numbers_in_the_original_layout():
    inside = "transformer_blocks.0.attn2.to_out.0"
    table = {
        "down_blocks.1.attentions.0": "input_blocks_4_1",
        "down_blocks.1.attentions.1": "input_blocks_5_1",
        "down_blocks.2.attentions.0": "input_blocks_7_1",
        "down_blocks.2.attentions.1": "input_blocks_8_1",
        "mid_block.attentions.0": "middle_block_1",
        "up_blocks.0.attentions.0": "output_blocks_0_1",
        "up_blocks.0.attentions.1": "output_blocks_1_1",
        "up_blocks.0.attentions.2": "output_blocks_2_1",
        "up_blocks.1.attentions.2": "output_blocks_5_1",
    }
    for block, original in table.items():
        name = f"lora_unet_{original}_transformer_blocks_0_attn2_to_out_0"
        assert to_kohya(f"{block}.{inside}") == name
        assert from_kohya(name) == f"{block}.{inside}"
        assert block_of(f"{block}.{inside}") == block


@pytest.mark.parametrize("original", [True, False])
def test_every_linear_layer_of_sdxl_s_attention_blocks_survives_both_ways(sdxl, original):
    blocks = tuple(f"{block}." for block in attention_blocks(sdxl))
    layers = [
        name for name, module in sdxl.named_modules() if isinstance(module, torch.nn.Linear) and name.startswith(blocks)
    ]
    assert len(layers) == 70 * 10 + 11 * 2  # attention and feed-forward; each block's first and last
    assert [from_kohya(to_kohya(name, original=original)) for name in layers] == layers
    assert len({to_kohya(name, original=original) for name in layers}) == len(layers)
    assert [from_dotted(f"unet.{name}") for name in layers] == layers


@given(st.data())
def test_kohya_s_names_come_back(data):
    side, number = data.draw(
        st.sampled_from([("input", n) for n in (4, 5, 7, 8)] + [("output", n) for n in range(6)] + [("middle", None)])
    )
    block = "middle_block_1" if number is None else f"{side}_blocks_{number}_1"
    depth = data.draw(st.integers(0, 9))
    to = data.draw(st.sampled_from(["attn1", "attn2"])) + "_" + data.draw(st.sampled_from(TARGETS)).replace(".", "_")
    name = f"lora_unet_{block}_transformer_blocks_{depth}_{to}"
    assert to_kohya(from_kohya(name)) == name
    assert from_kohya(to_kohya(from_kohya(name), original=False)) == from_kohya(name)


@pytest.mark.parametrize("original", [True, False])
def test_the_table_is_diffusers_own(sdxl, attention_layers, original):
    assert len(attention_layers) == 70 * 8
    tensors = {}
    for index, name in enumerate(attention_layers):
        key, value = to_kohya(name, original=original), torch.full((1, 1), float(index))
        tensors |= {f"{key}.lora_down.weight": value, f"{key}.lora_up.weight": value, f"{key}.alpha": torch.tensor(1.0)}
    mapped = _maybe_map_sgm_blocks_to_diffusers(tensors, sdxl.config)
    theirs, _ = _convert_non_diffusers_lora_to_diffusers(mapped)
    theirs = convert_unet_state_dict_to_peft({key.removeprefix("unet."): value for key, value in theirs.items()})
    assert {key: int(value) for key, value in theirs.items() if ".lora_A." in key} == {
        f"{name}.lora_A.weight": index for index, name in enumerate(attention_layers)
    }


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_input_blocks_6_1_transformer_blocks_0_attn1_to_q",  # the downsampler's place
        "lora_unet_input_blocks_0_1_transformer_blocks_0_attn1_to_q",
        "lora_unet_input_blocks_4_0_in_layers_2",
        "lora_unet_down_blocks_1_resnets_0_conv1",
        "lora_unet_double_blocks_0_img_attn_qkv",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
    ],
)
def test_names_outside_of_attention_blocks_are_none(name):
    assert from_kohya(name) is None


@pytest.mark.parametrize("layer", ["conv_in", "down_blocks.1.attentions.2.proj_in", "mid_block.attentions.1.proj_in"])
def test_layers_without_a_place_in_the_original_layout_are_refused(layer):
    with pytest.raises(ValueError, match=r"attention block|original layout"):
        to_kohya(layer)


# There and back


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_lost_on_the_way_there_and_back(base, adapter, layout):
    adapter = Adapter.from_bytes(adapter.to_bytes())
    data = write_lora(adapter, layout)
    imported = read_lora(data)
    back = for_base(imported, base.info, base.unet, {})
    assert imported.layout == layout
    assert same(back.tensors, adapter.tensors)
    assert back.manifest == adapter.manifest
    assert back.to_bytes() == adapter.to_bytes()  # the swatch too
    assert write_lora(back, layout) == data
    assert not imported.notices


def test_the_swatch_may_stay_at_home(base, adapter):
    small = write_lora(adapter, "kohya", swatch=False)
    assert len(small) < len(write_lora(adapter, "kohya"))
    back = for_base(read_lora(small), base.info, base.unet, {})
    assert back.swatch is None
    assert back.manifest == adapter.manifest


@pytest.mark.parametrize(
    ("spelling", "layout"),
    [
        (("unet.{}.lora_A.weight", "unet.{}.lora_B.weight"), "diffusers"),
        (("{}.lora_A.weight", "{}.lora_B.weight"), "diffusers"),
        (("unet.{}.lora_A.default.weight", "unet.{}.lora_B.default.weight"), "diffusers"),
        (("base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight"), "diffusers"),
        (("base_model.model.unet.{}.lora_A.weight", "base_model.model.unet.{}.lora_B.weight"), "diffusers"),
        (("unet.{}.lora.down.weight", "unet.{}.lora.up.weight"), "diffusers"),
        (
            (
                "unet.{attention}.processor.{to}_lora.down.weight",
                "unet.{attention}.processor.{to}_lora.up.weight",
            ),
            "diffusers",
        ),
        (
            ("{attention}.processor.{to}_lora.down.weight", "{attention}.processor.{to}_lora.up.weight"),
            "diffusers",
        ),
    ],
)
def test_diffusers_names_old_and_new(adapter, spelling, layout):
    imported = read_lora(file_of(renamed(adapter, *spelling)))
    assert imported.layout == layout
    expected = adapter.layers
    assert set(imported.layers) == set(expected)
    for name, halves in imported.layers.items():
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(halves, expected[name], strict=True))


def test_comfy_s_dotted_original_names(adapter):
    kohya = safetensors.torch.load(write_lora(adapter, "kohya"))
    name = "lora_unet_input_blocks_5_1_transformer_blocks_0_attn1_to_q"
    dotted = "diffusion_model.input_blocks.5.1.transformer_blocks.0.attn1.to_q"
    tensors = {f"{dotted}.lora_{half}.weight": kohya[f"{name}.lora_{half}.weight"] for half in ("down", "up")}
    assert list(read_lora(file_of(tensors)).layers) == [from_kohya(name)]


# Stock programs


@pytest.fixture(scope="module")
def pipeline(base_folder):
    pipeline = StableDiffusionXLPipeline.from_pretrained(base_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def out_of(unet):
    source = torch.Generator().manual_seed(1)

    def noise(*shape):
        return torch.randn(*shape, generator=source)

    told = {"text_embeds": noise(1, 16), "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]])}
    with torch.no_grad():
        return unet(noise(1, 4, 8, 8), torch.tensor([500]), noise(1, 5, 32), added_cond_kwargs=told).sample


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stock_pipeline_loads_every_export_and_means_the_same(base, adapter, pipeline, tmp_path, layout):
    (tmp_path / "style.safetensors").write_bytes(write_lora(adapter, layout))
    plain = out_of(pipeline.unet)
    pipeline.load_lora_weights(tmp_path, weight_name="style.safetensors")
    theirs = out_of(pipeline.unet)
    pipeline.unload_lora_weights()
    with applied(base.unet, adapter):
        ours = out_of(base.unet)
    assert float((theirs - plain).abs().mean()) > 1e-3
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.equal(out_of(pipeline.unet), plain)


def whole_unet(unet, alpha_of=lambda index: 3.0):
    """A LoRA by kohya's names on every attention layer, of different ranks, in half precision."""
    source = torch.Generator().manual_seed(2)
    tensors = {}
    layers = [name for name, _ in unet.named_modules() if ".attn" in name and name.endswith(TARGETS)]
    for index, name in enumerate(layers):
        linear, rank, key = unet.get_submodule(name), 2 + index % 3, to_kohya(name)
        a = torch.randn(rank, linear.in_features, generator=source) * 0.3
        b = torch.randn(linear.out_features, rank, generator=source) * 0.3
        alpha = torch.tensor(alpha_of(index))
        tensors |= {f"{key}.lora_down.weight": a.half(), f"{key}.lora_up.weight": b.half(), f"{key}.alpha": alpha}
    return tensors


def test_what_diffusers_reads_of_a_file_with_other_ranks_we_read_too(base, pipeline, tmp_path):
    data = file_of(whole_unet(base.unet))
    (tmp_path / "lora.safetensors").write_bytes(data)
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    theirs = out_of(pipeline.unet)
    pipeline.unload_lora_weights()
    adapter = for_base(read_lora(data), base.info, base.unet, {})
    assert adapter.manifest["rank"] == 4
    assert {a.shape[0] for a, _ in adapter.layers.values()} == {4}
    with applied(base.unet, adapter):
        assert torch.allclose(out_of(base.unet), theirs, atol=1e-4)


def test_every_layer_keeps_its_own_strength(base):
    """diffusers 0.42 takes one alpha for all layers; kohya-ss, whose files these are, means each layer's own."""
    tensors = whole_unet(base.unet, lambda index: 1.0 + index % 2)
    for name, (a, b) in for_base(read_lora(file_of(tensors)), base.info, base.unet, {}).layers.items():
        down, up, alpha = (
            tensors[f"{to_kohya(name)}.{half}"] for half in ("lora_down.weight", "lora_up.weight", "alpha")
        )
        assert torch.allclose(b.float() @ a.float(), up.float() @ down.float() * (alpha / len(down)), atol=1e-6)


def test_a_file_that_diffusers_saved_keeps_its_strength(base, pipeline, tmp_path):
    """diffusers writes alpha into the metadata, not beside the tensors."""
    with training_lora(base.unet, base.info.style_blocks, 4, 0) as live:
        source = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in live.parameters.values():
                parameter.copy_(torch.randn(parameter.shape, generator=source) * 0.3)
        tensors = {f"unet.{name}": tensor.clone() for name, tensor in live.state().items()}
    told = {"r": 4, "lora_alpha": 2, "alpha_pattern": {"attn2.to_q": 8}, "target_modules": list(TARGETS)}
    metadata = {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in told.items()})}
    data = file_of(tensors, metadata)
    (tmp_path / "lora.safetensors").write_bytes(data)
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    theirs = out_of(pipeline.unet)
    pipeline.unload_lora_weights()
    with applied(base.unet, for_base(read_lora(data), base.info, base.unet, {})):
        assert torch.allclose(out_of(base.unet), theirs, atol=1e-5)


def test_other_programs_find_what_they_look_for(adapter):
    data = write_lora(adapter, "kohya", title="Satin")
    told = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    assert told["ss_network_module"] == "networks.lora"
    assert told["ss_network_dim"] == told["ss_network_alpha"] == "4"
    assert told["modelspec.title"] == told["ss_output_name"] == "Satin"
    assert told["ss_base_model_version"] == "tiny"  # it is no style of SDXL, and must not be offered for it
    assert list(told) == sorted(told)
    assert json.loads(told["hoop"])["caption"] == "a fox"
    alphas = {float(tensor) for key, tensor in safetensors.torch.load(data).items() if key.endswith(".alpha")}
    assert alphas == {4.0}


def test_a_style_of_sdxl_says_so(sdxl):
    tensors = {}
    for to in ("attn1.to_q", "attn2.to_k"):
        name = f"down_blocks.2.attentions.0.transformer_blocks.9.{to}"
        linear = sdxl.get_submodule(name)
        tensors[f"unet.{name}.lora_A.weight"] = torch.zeros(1, linear.in_features)
        tensors[f"unet.{name}.lora_B.weight"] = torch.zeros(linear.out_features, 1)
    style = Adapter(tensors, {"base": {"name": "sdxl", "version": "1"}})
    assert is_sdxl(style)
    data = write_lora(style, "kohya")
    told = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    assert told["ss_base_model_version"] == "sdxl_base_v1-0"
    assert told["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"


# Strength, precision, ranks


def test_alpha_over_rank_is_folded_into_b():
    key = "lora_unet_input_blocks_5_1_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{key}.lora_down.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        f"{key}.lora_up.weight": torch.tensor([[2.0, 0.0], [0.0, 4.0]]),
        f"{key}.alpha": torch.tensor(1.0),
    }
    ((a, b),) = read_lora(file_of(tensors)).layers.values()
    assert a.tolist() == [[1, 2], [3, 4]]
    assert b.tolist() == [[1, 0], [0, 2]]  # alpha / r = 1 / 2
    assert (b @ a).tolist() == [[1, 2], [6, 8]]


def test_peft_s_configuration_beside_the_file():
    tensors = {key.replace("unet.", "base_model.model."): value for key, value in lora(rank=4).items()}
    data = file_of(tensors)
    (plain,) = read_lora(data).layers.values()
    assert [notice.code for notice in read_lora(data).notices] == ["strength_unknown"]
    for config, scale in (
        ({"r": 4, "lora_alpha": 8}, 2.0),
        ({"lora_alpha": 8, "use_rslora": True}, 4.0),
        ({"lora_alpha": 8, "alpha_pattern": {"attn1.to_q": 1}}, 0.25),
        ({"lora_alpha": 8, "alpha_pattern": {"attn2.to_q": 1}}, 2.0),
    ):
        imported = read_lora(data, config)
        ((_, b),) = imported.layers.values()
        assert torch.equal(b, plain[1] * scale)
        assert not imported.notices
    with pytest.raises(AdapterError, match="DoRA"):
        read_lora(data, {"lora_alpha": 8, "use_dora": True})
    with pytest.raises(AdapterError, match="LOHA"):
        read_lora(data, {"peft_type": "LOHA"})
    with pytest.raises(AdapterError, match="strength"):
        read_lora(data, {"lora_alpha": "much"})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_precision_is_read_as_it_is(dtype):
    tensors = lora(dtype=dtype)
    ((a, b),) = read_lora(file_of(tensors)).layers.values()
    assert a.dtype == b.dtype == dtype
    assert all(torch.equal(half, given) for half, given in zip((a, b), tensors.values(), strict=True))
    folded = read_lora(file_of(tensors | {f"{LAYER}.alpha": torch.tensor(0.6)}))
    ((a, b),) = folded.layers.values()
    assert a.dtype == torch.float32
    assert torch.equal(b, tensors[f"{LAYER}.lora_B.weight"].float() * (float(torch.tensor(0.6)) / 2))


def test_other_precisions_become_the_widest():
    ((a, b),) = read_lora(file_of(lora(dtype=torch.float64))).layers.values()
    assert a.dtype == b.dtype == torch.float32


def test_layers_of_different_ranks_get_the_largest():
    first = "down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q"
    imported = read_lora(file_of(lora(first, 2) | lora(first.replace("attn1", "attn2"), 5)))
    made = imported.adapter({})
    for name, (a, b) in made.layers.items():
        assert (a.shape[0], b.shape[1]) == (5, 5)
        small_a, small_b = imported.layers[name]
        assert torch.allclose(b @ a, small_b @ small_a, atol=1e-6)


def test_convolutions_of_one_pixel_are_linear_layers():
    tensors = {key: value[..., None, None] for key, value in lora().items()}
    ((a, b),) = read_lora(file_of(tensors)).layers.values()
    assert a.ndim == b.ndim == 2


# The four-block filter


def test_of_the_whole_unet_the_style_blocks_are_kept(base):
    layers = [name for name, _ in base.unet.named_modules() if ".attn" in name and name.endswith(TARGETS)]
    tensors = {}
    for name in layers:
        linear = base.unet.get_submodule(name)
        tensors[f"unet.{name}.lora_A.weight"] = torch.randn(2, linear.in_features)
        tensors[f"unet.{name}.lora_B.weight"] = torch.randn(linear.out_features, 2)
    whole = read_lora(file_of(tensors))
    assert len(whole.blocks) == 11
    style = whole.only(base.info.style_blocks)
    assert set(style.blocks) == set(base.info.style_blocks)
    assert style.skipped == {"other_blocks": 7 * 8}
    source = {"file": "emolora.safetensors", "sha256": "0" * 64}
    made = for_base(style, base.info, base.unet, source, name="Satin")
    assert made.manifest == {
        "format": "hoop-style/1",
        "hoop_version": made.manifest["hoop_version"],
        "base": {"name": "tiny", "version": "1"},
        "style_blocks": list(base.info.style_blocks),
        "rank": 2,
        "caption": "",
        "style_word": "emb",
        "name": "Satin",
        "source": {**source, "layout": "diffusers", "skipped": {"other_blocks": 56}},
    }
    assert for_base(whole, base.info, base.unet, source).manifest["style_blocks"] == list(attention_blocks(base.unet))
    with pytest.raises(AdapterError, match="changes nothing in the blocks"):
        style.only(["mid_block.attentions.0"])


# What is left out, and what is refused


def test_what_a_style_cannot_hold_is_left_out_and_said():
    extra = {
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.zeros(2, 4),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.zeros(4, 2),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha": torch.tensor(1.0),
        "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight": torch.zeros(2, 4),
        "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight": torch.zeros(4, 2),
        "lora_unet_input_blocks_4_0_in_layers_2.lora_down.weight": torch.zeros(2, 4, 3, 3),
        "lora_unet_input_blocks_4_0_in_layers_2.lora_up.weight": torch.zeros(4, 2, 1, 1),
        "lora_unet_input_blocks_4_0_emb_layers_1.lora_down.weight": torch.zeros(2, 4),
        "lora_unet_input_blocks_4_0_emb_layers_1.lora_up.weight": torch.zeros(4, 2),
    }
    imported = read_lora(file_of(lora() | extra))
    assert imported.skipped == {"text_encoder": 2, "convolution": 1, "elsewhere": 1}
    assert len(imported.layers) == 1
    assert [notice.code for notice in imported.notices] == ["text_encoder", "convolution", "elsewhere"]
    assert all("Left out" in notice.message for notice in imported.notices)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("lora_unet_x.dora_scale", "DoRA"),
        ("unet.x.lora_magnitude_vector", "DoRA"),
        ("lora_unet_x.hada_w1_a", "LoHa"),
        ("lora_unet_x.lokr_w1", "LoKr"),
        ("lora_unet_x.oft_blocks", "OFT"),
        ("unet.x.oft_R.weight", "OFT"),
    ],
)
def test_other_kinds_of_adapters_are_refused_by_name(key, kind):
    with pytest.raises(AdapterError, match=f"a {kind}, another kind"):
        read_lora(file_of(lora() | {key: torch.zeros(2)}))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no .safetensors file"),
        (b"not a file at all", "no .safetensors file"),
        (bytes(200), "no .safetensors file"),
        (file_of(lora())[:-9], "no .safetensors file"),
        (b"PK\x03\x04" + bytes(60), "PyTorch file"),
        (b"\x80\x02" + bytes(60), "PyTorch file"),
        (file_of({}), "empty"),
        (file_of({"model.diffusion_model.out.2.weight": torch.zeros(2)}), "something else"),
        (file_of(lora() | {"lora_unet_x.diff": torch.zeros(2)}), "more than a LoRA"),
        (
            file_of({"lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": torch.zeros(2, 2)}),
            "another kind of model",
        ),
        (file_of({"text_encoder.x.q_proj.lora_A.weight": torch.zeros(2, 2)}), "text encoders only"),
        (file_of({f"{LAYER}.lora_A.weight": torch.zeros(2, 32)}), "incomplete"),
        (file_of(lora() | {f"{LAYER}.lora_B.weight": torch.zeros(32, 3)}), "do not fit"),
        (file_of(lora() | {f"{LAYER}.lora_B.weight": torch.zeros(32, 2, dtype=torch.int8)}), "whole numbers"),
        (file_of(lora() | {f"{LAYER}.lora_B.weight": torch.full((32, 2), torch.nan)}), "no numbers"),
        (file_of(lora() | {f"{LAYER}.alpha": torch.zeros(2)}), "no single number"),
        (file_of(lora() | {key.removeprefix("unet."): value for key, value in lora().items()}), "twice"),
        (file_of(lora(), {"hoop": "{"}), "damaged"),
        (file_of(lora(), {"hoop": '{"format": "hoop-style/9"}'}), "newer Hoop"),
        (file_of(lora(), {"lora_adapter_metadata": "{"}), "strength"),
        (file_of(lora(), {"lora_adapter_metadata": '{"unet.use_dora": true}'}), "DoRA"),
    ],
)
def test_what_cannot_be_read_is_refused_in_plain_words(data, words):
    with pytest.raises(AdapterError, match=words):
        read_lora(data)


def test_somebody_else_s_entry_of_our_name_is_nobody_s_manifest():
    assert read_lora(file_of(lora(), {"hoop": '{"other": 1}'})).values == {}


def test_a_lora_of_another_base_is_refused(base):
    made_for = {"ss_base_model_version": "sd_v1"}
    large = {key: torch.zeros([64 if side == CHANNELS[1] else side for side in v.shape]) for key, v in lora().items()}
    with pytest.raises(AdapterError, match=r"another base than tiny.*another size.*sd_v1"):
        for_base(read_lora(file_of(large, made_for)), base.info, base.unet, {})
    deep = lora("down_blocks.1.attentions.1.transformer_blocks.7.attn1.to_q")
    with pytest.raises(AdapterError, match="has no layer"):
        for_base(read_lora(file_of(deep)), base.info, base.unet, {})


def test_a_style_of_another_version_is_refused_and_one_of_another_name_is_told_so(base, adapter):
    imported = read_lora(adapter.to_bytes())
    later = BaseInfo(name="tiny", version="2", style_word="emb")
    with pytest.raises(AdapterError, match="learn it again from its photo"):
        for_base(imported, later, base.unet, {})
    made = for_base(imported, BaseInfo(name="tuned"), base.unet, {"file": "a.safetensors"})
    assert made.manifest["base"] == {"name": "tuned", "version": "1"}
    assert made.manifest["caption"] == "a fox"
    assert made.manifest["source"]["file"] == "a.safetensors"


def test_a_folder_without_a_unet_is_refused(tmp_path, base_folder):
    assert next(outline(base_folder).parameters()).is_meta
    with pytest.raises(AdapterError, match="no UNet"):
        outline(tmp_path)


# Use


def test_a_style_goes_by_its_own_word(base, adapter):
    other = Adapter(adapter.tensors, adapter.manifest | {"style_word": "knitted"})
    with style_on(base, other):
        assert base.info.style_prompt("a fox") == "a fox in knitted style"
    assert base.info.style_word == "emb"


def test_an_imported_style_is_rendered_without_stitches(base, adapter):
    foreign = Snapshot(adapter.tensors, {}).tensors
    style = for_base(read_lora(file_of(foreign)), base.info, base.unet, {"file": "x", "sha256": "0"})
    design = Image.new("RGB", (300, 300), (230, 230, 220))
    design.paste((200, 40, 40), (80, 80, 220, 220))
    config = render_config("flat", small=True, steps=2)
    (plain,) = Renderer(base).render(None, RenderRequest(design=design, config=config))
    (shown,) = Renderer(base).render(Adapter.from_bytes(style.to_bytes()), RenderRequest(design=design, config=config))
    assert shown.patch.size == plain.patch.size
    assert shown.patch.tobytes() != plain.patch.tobytes()

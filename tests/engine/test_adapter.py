"""The LoRA in training and the adapter that is kept."""

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline

from tests.engine.test_routing import predict
from worker.engine.adapter import Adapter, AdapterError, applied, style_on, training_lora

RANK = 4


def strong_adapter(base, seed=0):
    """theta_e with weights large enough to see."""
    source = torch.Generator().manual_seed(seed)
    with training_lora(base.unet, base.info.style_blocks, RANK, seed) as lora:
        with torch.no_grad():
            for parameter in lora.parameters.values():
                parameter.copy_(torch.randn(parameter.shape, generator=source) * 0.3)
        return lora.style_adapter({"style_blocks": list(base.info.style_blocks), "rank": RANK})


def test_every_attention_layer_gets_a_lora(base):
    with training_lora(base.unet, base.info.style_blocks, RANK, 0) as lora:
        assert len(lora.parameters) == 11 * 2 * 4 * 2  # blocks, attentions, layers, A and B
        assert len(lora.style) == 4 * 2 * 4 * 2
        assert {parameter.dtype for parameter in lora.parameters.values()} == {torch.float32}
        trainable = {id(p) for p in base.unet.parameters() if p.requires_grad}
        assert trainable == {id(p) for p in lora.parameters.values()}
        a = torch.cat([p.detach().flatten() for name, p in lora.parameters.items() if "lora_A" in name])
        assert abs(float(a.std()) - 1 / RANK) < 0.01  # gaussian, deviation 1 / r
        assert not any(p.any() for name, p in lora.parameters.items() if "lora_B" in name)


def test_a_new_lora_changes_nothing_and_the_seed_decides_it(base):
    plain = predict(base)
    states = []
    for seed in (1, 1, 2):
        with training_lora(base.unet, base.info.style_blocks, RANK, seed) as lora:
            assert torch.equal(predict(base), plain)
            states.append({name: value.clone() for name, value in lora.state().items()})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_global_random_state_is_left_alone(base):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with training_lora(base.unet, base.info.style_blocks, RANK, 0):
        pass
    assert torch.equal(torch.rand(1), expected)


def test_switched_off_it_is_the_plain_unet_bit_for_bit(base):
    plain = predict(base)
    with training_lora(base.unet, base.info.style_blocks, RANK, 0) as lora:
        for parameter in lora.parameters.values():
            parameter.data.normal_(0, 0.3)
        changed = predict(base)
        assert not torch.equal(changed, plain)
        with lora.off():
            assert torch.equal(predict(base), plain)
        assert torch.equal(predict(base), changed)


def test_the_base_is_clean_after_an_error(base):
    plain = predict(base)
    with pytest.raises(RuntimeError, match="stop"), training_lora(base.unet, base.info.style_blocks, RANK, 0):
        raise RuntimeError("stop")
    assert torch.equal(predict(base), plain)


def test_the_adapter_is_theta_e_only(base):
    adapter = strong_adapter(base)
    for key in adapter.tensors:
        assert key.startswith("unet.")
        assert any(key.startswith(f"unet.{block}.") for block in base.info.style_blocks)


def test_applied_equals_the_live_lora_and_leaves_no_trace(base):
    plain = predict(base)
    with training_lora(base.unet, base.info.style_blocks, RANK, 0) as lora:
        for name, parameter in lora.parameters.items():
            parameter.data.normal_(0, 0.3)
            if name not in lora.style:
                parameter.data.zero_()
        live = predict(base)
        adapter = lora.style_adapter({})
        with lora.off(), applied(base.unet, adapter):
            assert torch.allclose(predict(base), live, atol=1e-5)
    with applied(base.unet, adapter):
        assert torch.allclose(predict(base), live, atol=1e-5)
    with applied(base.unet, adapter, scale=0):
        assert torch.equal(predict(base), plain)
    assert torch.equal(predict(base), plain)


def test_the_file_survives_the_round_trip(base):
    adapter = strong_adapter(base)
    back = Adapter.from_bytes(adapter.to_bytes())
    assert back.manifest == adapter.manifest
    assert all(torch.equal(back.tensors[key], value) for key, value in adapter.tensors.items())
    assert back.sha256 == adapter.sha256


@pytest.mark.parametrize("data", [b"", b"not a file at all", bytes(200)])
def test_other_files_are_refused(data):
    with pytest.raises(AdapterError, match="no style adapter"):
        Adapter.from_bytes(data)


def test_other_weights_are_refused(base):
    adapter = strong_adapter(base)
    with pytest.raises(AdapterError, match="other weights"):
        Adapter.from_bytes(Adapter({"model.weight": torch.zeros(1)}, {}).to_bytes())
    key = next(iter(adapter.tensors))
    with pytest.raises(AdapterError, match="incomplete"):
        _ = Adapter({key: adapter.tensors[key]}, {}).layers
    wrong = {name: torch.zeros(RANK, 99) if "lora_A" in name else value for name, value in adapter.tensors.items()}
    with pytest.raises(AdapterError, match="another base"), applied(base.unet, Adapter(wrong, {})):
        pass
    strange = {name.replace("down_blocks.1", "down_blocks.9"): value for name, value in adapter.tensors.items()}
    with pytest.raises(AdapterError, match="no layer"), applied(base.unet, Adapter(strange, {})):
        pass


def test_the_stock_pipeline_draws_the_same_with_the_file(base, base_folder, tmp_path):
    """`load_lora_weights` of an unchanged SDXL pipeline reads our file and means the same by it."""
    adapter = strong_adapter(base)
    (tmp_path / "style.safetensors").write_bytes(adapter.to_bytes())
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))

    def draw(pipeline):
        return pipeline(
            "a fox", num_inference_steps=4, guidance_scale=1.0, height=32, width=32, latents=noise, output_type="latent"
        ).images

    pipeline = StableDiffusionXLPipeline.from_pretrained(base_folder)
    pipeline.set_progress_bar_config(disable=True)
    plain = draw(pipeline)
    pipeline.load_lora_weights(tmp_path, weight_name="style.safetensors")
    theirs = draw(pipeline)

    scheduler = DDIMScheduler.from_config(base.scheduler.config)
    scheduler.set_timesteps(4)
    ours = noise
    with style_on(base, adapter), torch.no_grad():
        for t in scheduler.timesteps:
            out = base.predict(ours, t[None], base.encode_prompts(["a fox"]), base.time_ids(32))
            ours = scheduler.step(out, t, ours).prev_sample
    assert float((theirs - plain).abs().mean()) > 1e-3
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_a_style_of_another_version_of_the_base_is_told_in_plain_words(base):
    adapter = strong_adapter(base)
    known = {"name": base.info.name, "version": base.info.version}
    for manifest in ({"base": known}, {"base": {"name": "another"}}, {}):
        with style_on(base, Adapter(adapter.tensors, {**adapter.manifest, **manifest})):
            pass
    old = Adapter(adapter.tensors, {**adapter.manifest, "base": {**known, "version": "0"}})
    with pytest.raises(AdapterError, match="learn it again from its photo"), style_on(base, old):
        pass

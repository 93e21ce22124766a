"""Several styles in one batch: item by item what each gives alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.test_adapter import strong_adapter
from tests.engine.test_train import Recorder, stitched_photo
from tests.engine.tiny_base import TEXT
from tests.engine.tiny_sdxl import save_tiny_sdxl
from worker.engine.adapter import TOKENS, Adapter, AdapterError, style_on
from worker.engine.bases import load_base
from worker.engine.batch import reading_of, styles_on, told
from worker.engine.config import render_config
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.many import at_once
from worker.engine.progress import Canceled
from worker.engine.quilt import Swatch
from worker.engine.sampling import conditions, control_of, denoise

SMALL = render_config("flat", small=True, steps=4)


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    made = load_base(save_tiny_sdxl(tmp_path_factory.mktemp("tiny-sdxl")))
    made.autocast_dtype = None
    before = {name: parameter.clone() for name, parameter in made.unet.named_parameters()}
    yield made
    assert all(torch.equal(parameter, before[name]) for name, parameter in made.unet.named_parameters())


def design(seed, side=48):
    source = np.random.default_rng(seed)
    picture = np.full((side, side, 3), 225, np.uint8)
    top, left = source.integers(4, side // 3, 2)
    picture[top : top + side // 2, left : left + side // 2] = source.integers(20, 200, 3)
    return Image.fromarray(picture)


def narrow(adapter, rank=2):
    """The same with fewer ranks, and layers of one block less."""
    keep = {k: v for k, v in adapter.tensors.items() if not k.startswith("unet.up_blocks.0.attentions.2")}
    cut = {k: v[:rank] if "lora_A" in k else v[:, :rank] for k, v in keep.items()}
    return Adapter(cut, adapter.manifest | {"style_blocks": adapter.manifest["style_blocks"][:2]})


def styles(base):
    """Of different ranks, layers, blocks and words, and none."""
    first, second, third = (strong_adapter(base, seed) for seed in (1, 2, 3))
    worded = Adapter(third.tensors, third.manifest | {"style_word": "zzz"})
    return [first, narrow(second), None, worded]


def off(some, others):
    return max(np.abs(np.asarray(a, int) - np.asarray(b, int)).max() for a, b in zip(some, others, strict=True))


def compare(base, requests, batch=8, levels=1):
    """Draws one by one and together; the largest difference in 8-bit levels, and how large the batches were."""
    renderer, sizes = Renderer(base), []
    alone = [[image.patch for image in renderer.render(adapter, request)] for adapter, request in requests]
    predict = base.predict
    base.predict = lambda x, *rest, **named: sizes.append(len(x)) or predict(x, *rest, **named)
    try:
        many = renderer.render_many(requests, batch=batch)
    finally:
        del base.predict
    together = [[image.patch for image in images] for images in many]
    assert [len(one) for one in together] == [len(one) for one in alone]
    for some, others in zip(together, alone, strict=True):
        assert off(some, others) <= levels
    flat = [some[0] for some in alone]
    # Or nothing would be shown.
    assert all(off([flat[0]], [other]) > 3 for other in flat[1:] if other.size == flat[0].size)
    return sizes


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("route", [True, False])
def test_items_of_a_mixed_batch_are_what_they_are_alone(base, guidance, route):
    config = replace(SMALL, strength=0.8, bare_guidance=0.0, guidance=guidance, route=route, negative_prompt="bad")
    requests = [
        (adapter, RenderRequest(design=design(seed), config=config, seed=seed))
        for seed, adapter in enumerate(styles(base))
    ]
    sizes = compare(base, requests)
    assert sizes == [4 * (1 if guidance == 1 else 2)] * 3


def test_predictions_agree_to_rounding(base):
    adapters = styles(base)
    config = replace(SMALL, guidance=2.0, sampler="ddim")
    noise = torch.randn(4, base.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    designs = [design(seed, 32) for seed in range(4)]
    with styles_on(base, adapters):
        given = replace(
            told(base, adapters, ["a fox", "", "b", "c"], config), residuals=control_of(base, designs, 1, 1)
        )
        together = denoise(base, noise, given, config)
    for index, (adapter, content) in enumerate(zip(adapters, ["a fox", "", "b", "c"], strict=True)):
        with style_on(base, adapter):
            control = control_of(base, [designs[index]], 1, 1)
            alone = denoise(base, noise[index : index + 1], conditions(base, content, config, control), config)
        assert torch.allclose(together[index], alone[0], atol=2e-4)
        assert alone.abs().max() > 0.1


def test_laid_stitches_finals_words_and_variations_are_sorted_into_batches(base):
    photo = stitched_photo(32)
    mask = np.zeros((32, 32), bool)
    mask[6:26, 6:26] = True
    swatch = Swatch(photo, design(9, 32), mask)
    plain = styles(base)
    laid = [replace(plain[0], swatch=swatch), replace(plain[3], swatch=swatch)]
    final = replace(SMALL, quality="final")
    words = render_config("text", small=True, steps=3)
    requests = [
        (laid[0], RenderRequest(design=design(1), config=SMALL, variations=2)),
        (plain[1], RenderRequest(design=design(2), config=final, seed=5)),
        (laid[1], RenderRequest(design=design(3), config=replace(SMALL, preset="other", preview_every=1))),
        (plain[0], RenderRequest(design=design(4), config=final, seed=6)),
        (plain[3], RenderRequest(brief="a red fox", config=words)),
        (None, RenderRequest(brief="a blue whale", config=words)),
    ]
    sizes = compare(base, requests, batch=8)
    assert max(sizes) > 3


def test_a_final_in_tiles_is_drawn_with_others(base):
    final = replace(SMALL, quality="final", threads="same")
    requests = [
        (adapter, RenderRequest(design=design(seed), config=final, seed=seed))
        for seed, adapter in enumerate(styles(base)[:2])
    ]
    assert set(compare(base, requests, batch=8)) == {2, 4}  # drafts with guidance, finals' tiles without
    assert 1 in set(compare(base, requests, batch=4))  # a final has as many pixels as four drafts


def test_on_sdxls_topology_with_controlnets_guidance_and_tiles(sdxl):
    config = render_config("flat", small=False, steps=3)
    adapters = styles(sdxl)
    requests = [
        (adapter, RenderRequest(design=design(seed), config=config, seed=seed)) for seed, adapter in enumerate(adapters)
    ]
    assert compare(sdxl, requests) == [8, 8, 8]
    final = replace(config, quality="final", steps=2)
    requests = [
        (adapter, RenderRequest(design=design(seed), config=final, seed=seed))
        for seed, adapter in enumerate(adapters[:2])
    ]
    assert max(compare(sdxl, requests)) == 4
    words = [
        (adapter, RenderRequest(brief=f"thing {seed}", config=config, seed=seed))
        for seed, adapter in enumerate(adapters)
    ]
    assert compare(sdxl, words) == [8, 8, 8]


def test_styles_that_read_a_reference_are_kept_apart_from_words(base):
    source = torch.Generator().manual_seed(5)
    adapters = styles(base)
    tokens = torch.randn(5, 2 * TEXT, generator=source).tolist()
    reads = Adapter(adapters[0].tensors, adapters[0].manifest | {TOKENS: tokens})
    assert reading_of(base, reads, SMALL) != reading_of(base, adapters[0], SMALL)
    with pytest.raises(ValueError, match="in one batch"):
        told(base, [reads, adapters[0]], ["", ""], SMALL)
    requests = [
        (adapter, RenderRequest(design=design(seed), config=SMALL, seed=seed))
        for seed, adapter in enumerate([reads, adapters[1], replace(reads, manifest={**reads.manifest, "x": 1})])
    ]
    sizes = compare(base, requests)
    assert set(sizes) <= {1, 2, 4}


def test_styles_that_do_not_fit_are_refused_and_leave_nothing(base):
    good = strong_adapter(base, 1)
    key = next(iter(good.tensors))
    wrong = Adapter({**good.tensors, key: torch.zeros(4, 99)}, good.manifest)
    with pytest.raises(AdapterError, match="another base"), styles_on(base, [good, wrong]):
        pass
    old = Adapter(good.tensors, {**good.manifest, "base": {"name": base.info.name, "version": "0"}})
    with pytest.raises(AdapterError, match="learn it again"), styles_on(base, [good, old]):
        pass
    unknown = Adapter(good.tensors, {**good.manifest, "style_blocks": ["nowhere"]})
    with pytest.raises(ValueError, match="no such attention blocks"), styles_on(base, [good, unknown]):
        pass
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in base.unet.modules()]
    assert sum(hooks) == len(base.info.style_blocks)


def test_progress_is_of_all_and_a_wish_to_stop_is_heard(base):
    requests = [
        (adapter, RenderRequest(design=design(seed), config=replace(SMALL, quality="final"), seed=seed))
        for seed, adapter in enumerate(styles(base)[:2])
    ]
    progress = Recorder()
    Renderer(base).render_many(requests, progress)
    steps = [(step, total) for stage, step, total in progress.updates if stage == "diffuse"]
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    with pytest.raises(Canceled):
        Renderer(base).render_many(requests, Recorder(stop_at=("diffuse", 2)))


def test_a_style_of_another_version_is_refused_before_others_wait_for_it(base):
    style = strong_adapter(base)
    old = Adapter(style.tensors, style.manifest | {"base": {"name": base.info.name, "version": "of before"}})
    asked = RenderRequest(design=design(1), config=SMALL)
    assert Renderer(base).begin(style, asked).order.adapter is style
    with pytest.raises(AdapterError, match="learn it again"):
        Renderer(base).begin(old, asked)


@pytest.mark.parametrize(("size", "batch", "count"), [(None, 4, 4), (16, 4, 4), (64, 4, 1), (64, 9, 2), (128, 4, 1)])
def test_of_larger_pictures_fewer_are_drawn_at_once(base, size, batch, count):
    assert base.info.resolution == 32
    assert at_once(base, size, batch) == count

"""The base interface: control, latents, prompts, folders."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from worker.engine.bases import BaseError, BaseInfo, image_to_tensor, load_base, tensor_to_image
from worker.engine.control import ControlBranch, add_residuals, join_residuals


def maps(seed=0, count=1):
    source = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 32, 32, generator=source), torch.rand(count, 1, 32, 32, generator=source)


def test_a_new_branch_changes_nothing():
    down, mid = ControlBranch(3, block_out_channels=(8, 16, 16), hidden=8)(torch.rand(1, 3, 32, 32))
    assert len(down) == 9
    assert all(not tensor.any() for tensor in [*down, mid])


def test_residuals_fit_every_skip(base):
    residuals = base.control_residuals(*maps())
    latents = torch.zeros(3, 4, 8, 8)
    out = base.predict(latents, torch.tensor([1, 2, 3]), base.encode_prompts(["a"]), base.time_ids(32), None, residuals)
    assert out.shape == latents.shape


def test_branches_add_up_by_their_scales(base):
    tile, edge = maps()
    both = base.control_residuals(tile, edge, 0.5, 2.0)
    apart = add_residuals([(base.control_residuals(tile, None), 0.5), (base.control_residuals(None, edge), 2.0)])
    assert all(torch.allclose(a, b) for a, b in zip(both.down, apart.down, strict=True))
    assert torch.allclose(both.mid, apart.mid)


def test_a_branch_that_weighs_nothing_is_skipped(base, monkeypatch):
    tile, edge = maps()
    monkeypatch.setattr(base.controls["tile"], "forward", lambda _: pytest.fail("the tile branch ran"))
    assert base.control_residuals(tile, edge, tile_scale=0) is not None
    assert base.control_residuals(tile, edge, 0, 0) is None


def test_cropped_residuals_are_cut_at_every_level(base):
    residuals = base.control_residuals(*maps())
    cut = residuals.crop(4, 0, 4)
    assert torch.equal(cut.down[0], residuals.down[0][..., 4:8, 0:4])
    assert torch.equal(cut.mid, residuals.mid[..., 1:2, 0:1])
    assert len(join_residuals([cut, cut]).mid) == 2


def test_prompts_do_not_depend_on_their_company(base):
    alone = base.encode_prompts(["a red fox"]).hidden
    base._prompt_cache.clear()
    assert torch.equal(base.encode_prompts(["a", "a red fox", "b"]).item(1).hidden, alone)


def test_prompts_are_what_the_stock_pipeline_makes(base, base_folder):
    pipeline = StableDiffusionXLPipeline.from_pretrained(base_folder)
    hidden, _, pooled, _ = pipeline.encode_prompt("a red fox", do_classifier_free_guidance=False)
    ours = base.encode_prompts(["a red fox"])
    assert torch.allclose(ours.hidden, hidden, atol=1e-5)
    assert torch.allclose(ours.pooled, pooled, atol=1e-5)


def test_pictures_survive_the_way_to_tensors_and_back():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    back = tensor_to_image(image_to_tensor([picture]))[0]
    assert np.array_equal(np.asarray(back), np.asarray(picture))


def test_latents_have_the_bases_size(base):
    latents = base.encode_images(torch.zeros(2, 3, 32, 32))
    assert latents.shape == (2, 4, 8, 8)
    assert base.decode_latents(latents).shape == (2, 3, 32, 32)
    assert (base.downscale, base.size_multiple) == (4, 16)


def test_info_survives_its_file(tmp_path):
    info = BaseInfo(name="x", style_word="emb", edge_thresholds=(1, 2), notes={"trained": "today"})
    info.write(tmp_path)
    assert BaseInfo.read(tmp_path) == info
    assert info.style_prompt("a fox") == "a fox in emb style"
    assert info.style_prompt("") == "in emb style"


def test_a_folder_that_is_no_base_says_so(tmp_path):
    with pytest.raises(BaseError, match=r"no hoop\.json"):
        load_base(tmp_path)
    (tmp_path / "hoop.json").write_text("{")
    with pytest.raises(BaseError, match="cannot be read"):
        load_base(tmp_path)
    BaseInfo(name="x").write(tmp_path)
    with pytest.raises(BaseError, match="cannot be loaded"):
        load_base(tmp_path)

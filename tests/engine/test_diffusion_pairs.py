"""The pair builder that lets a model draw: SDXL's own classes, Stable Diffusion 3's, and what reaches them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.sewn import label_map, sew
from tests.engine.test_train import stitched_photo
from tests.engine.tiny_sd3 import SIDE, save_tiny_sd3
from tests.engine.tiny_sdxl import save_tiny_sdxl
from worker.engine.base_info import BaseError
from worker.engine.bases import Base, load_base
from worker.engine.config import ComplementConfig, train_config
from worker.engine.control import LiveControl
from worker.engine.pairs import DesignConfig, DiffusionUnavailableError, build_pair
from worker.engine.pairs.base_designs import BaseDesigns, designs_of
from worker.engine.pairs.diffusion import DesignRequest, draw_design, soft_edges
from worker.engine.pairs.sd3 import Sd3Designs, design_plan, load_sd3
from worker.engine.prepare import PreparedReference, prepare_reference
from worker.engine.progress import Canceled
from worker.engine.train import PairInput, train_style

if TYPE_CHECKING:
    from pathlib import Path

QUICK = DesignConfig(steps=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    loaded = load_base(save_tiny_sdxl(tmp_path_factory.mktemp("tiny-sdxl")))
    loaded.autocast_dtype = None
    return loaded


@pytest.fixture(scope="module")
def sd3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd3(tmp_path_factory.mktemp("tiny-sd3"))


@pytest.fixture(scope="module")
def sd3(sd3_folder: Path) -> Sd3Designs:
    return load_sd3(sd3_folder)


@pytest.fixture(scope="module")
def prepared() -> PreparedReference:
    return prepare_reference(sew(label_map(360, 300), period=5.0), SIDE, balance=False)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, int)


def test_the_papers_numbers_are_the_defaults():
    config = DesignConfig()
    assert (config.steps, config.guidance, config.control_edge, config.control_tile) == (28, 4.0, 0.2, 0.8)
    assert config.tile_kernel == 15
    assert config.negative_prompt.startswith("embroidery")
    assert config.prompt_for(" a red fox ").endswith(", a red fox")
    assert config.prompt_for("") == config.prompt


@pytest.mark.parametrize(
    ("caption", "weight"), [("a red fox", 0.2), ("", 0.2), ("the word “Anna”", 0.3), ("gold lettering", 0.3)]
)
def test_lettering_is_held_more_firmly(caption: str, weight: float):
    assert DesignConfig().for_motif(caption).control_edge == weight


@pytest.mark.parametrize("kind", ["base", "sd3"])
def test_a_pair_has_the_photos_size_and_follows_the_seed(
    kind: str, base: Base, sd3: Sd3Designs, prepared: PreparedReference
):
    model = BaseDesigns(base) if kind == "base" else sd3
    one, again, other = (build_pair(prepared, "diffusion", None, seed, model, numbers=QUICK) for seed in (42, 42, 43))
    assert one.builder == "diffusion"
    assert one.design.size == one.embroidery.size == (SIDE, SIDE)
    assert one.design.tobytes() == again.design.tobytes()
    assert np.abs(pixels(one.design) - pixels(other.design)).max() > 2


def test_a_base_is_told_prompt_maps_and_weights(
    base: Base, prepared: PreparedReference, monkeypatch: pytest.MonkeyPatch
):
    calls, prompts = [], []
    predict, encode = base.predict, base.encode_prompts

    def spy(latents, timesteps, given, time_ids, style=None, residuals=None):
        calls.append((latents, timesteps, residuals))
        return predict(latents, timesteps, given, time_ids, style, residuals)

    monkeypatch.setattr(base, "predict", spy)
    monkeypatch.setattr(base, "encode_prompts", lambda texts: prompts.extend(texts) or encode(texts))
    steps: list[tuple[int, int]] = []
    pair = build_pair(
        prepared,
        "diffusion",
        None,
        7,
        designs_of(base),
        caption="a red fox",
        numbers=DesignConfig(steps=3),
        on_step=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert len(calls) == 3
    latents, timesteps, control = calls[0]
    assert len(latents) == 2, "guidance runs both prompts at once"
    assert timesteps.tolist()[0] > 600, "from noise"
    assert isinstance(control, LiveControl)
    assert dict(zip(control.nets, control.scales, strict=True)) == {
        base.controls["tile"]: 0.8,
        base.controls["edge"]: 0.2,
    }
    maps = dict(zip(control.nets, control.maps, strict=True))
    edges = maps[base.controls["edge"]][0].numpy()
    assert np.allclose(edges, soft_edges(prepared.embroidery)[None])
    assert float(((edges > 0.05) & (edges < 0.95)).mean()) > 0, "soft, not Canny's"
    assert maps[base.controls["tile"]].shape[1:] == (3, SIDE, SIDE)
    assert prompts[0].startswith(DesignConfig().prompt)
    assert prompts[0].endswith("a red fox")
    assert prompts[1].startswith("embroidery")
    assert pair.report["model"] == "tiny-sdxl"
    numbers = pair.report["numbers"]
    assert (numbers["steps"], numbers["guidance"], numbers["seed"]) == (3, 4.0, 7)
    assert (numbers["control_edge"], numbers["control_tile"]) == (0.2, 0.8)
    assert numbers["prompt"] == prompts[0]


def test_bases_without_words_or_controlnets_draw_no_designs(base: Base, monkeypatch: pytest.MonkeyPatch):
    assert designs_of(base) is not None
    with monkeypatch.context() as changed:
        changed.setattr(base, "info", replace(base.info, draws_words=False))
        assert designs_of(base) is None
    monkeypatch.setattr(base, "controls", {"tile": base.controls["tile"]})
    assert designs_of(base) is None


def test_maps_fit_the_side_that_a_model_draws_at(base: Base):
    request = DesignRequest(np.ones((32, 32, 3), np.float32), np.zeros((32, 32), np.float32), "", 0, QUICK)
    tile, edges = request.maps(SIDE)
    assert (tile.shape, edges.shape) == ((SIDE, SIDE, 3), (SIDE, SIDE))
    small = Image.new("RGB", (32, 32), "red")
    design, _ = draw_design(small, BaseDesigns(base), 1, config=QUICK)
    assert design.size == (32, 32)


def test_the_tile_map_holds_no_stitches():
    stripes = np.full((512, 512, 3), 200, np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 90
    threads = Image.fromarray(stripes)
    seen: list[DesignRequest] = []

    class Model:
        name = "spy"

        def __call__(self, request: DesignRequest) -> Image.Image:
            seen.append(request)
            return Image.new("RGB", (8, 8))

    draw_design(threads, Model(), 0)
    assert float(seen[0].tile.std()) < 0.2 * float(stripes.std() / 255)


def test_it_stops_when_asked(base: Base, sd3: Sd3Designs, prepared: PreparedReference):
    def stop(_done: int, _total: int) -> None:
        raise Canceled

    for model in (BaseDesigns(base), sd3):
        with pytest.raises(Canceled):
            build_pair(prepared, "diffusion", None, 0, model, on_step=stop)


def test_sd3_is_told_prompt_maps_and_weights(
    sd3: Sd3Designs, prepared: PreparedReference, monkeypatch: pytest.MonkeyPatch
):
    told: dict[str, object] = {}
    weights: list[tuple[float, ...]] = []
    net = sd3.pipeline.controlnet
    forward, encode = net.forward, sd3.pipeline.encode_prompt

    def spy(*args, **given):
        weights.append(tuple(given["conditioning_scale"]))
        return forward(*args, **given)

    monkeypatch.setattr(net, "forward", spy)
    monkeypatch.setattr(sd3.pipeline, "encode_prompt", lambda **given: told.update(given) or encode(**given))
    numbers = DesignConfig(steps=2)
    pair = build_pair(prepared, "diffusion", None, 1, sd3, caption="the word “Anna”", numbers=numbers)
    assert weights == [(0.3, 0.8)] * 2, "edge first, as the nets are"
    assert str(told["prompt"]).endswith("the word “Anna”")
    assert str(told["negative_prompt"]).startswith("embroidery")
    assert pair.report["model"] == "tiny-sd3"
    assert pair.report["numbers"]["control_edge"] == 0.3
    free = build_pair(prepared, "diffusion", None, 1, sd3, numbers=replace(numbers, control_tile=0.0))
    assert np.abs(pixels(free.design) - pixels(pair.design)).max() > 2, "the tile map steers"


def test_sd3_leaves_the_global_random_source_alone(sd3: Sd3Designs, prepared: PreparedReference):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build_pair(prepared, "diffusion", None, 1, sd3, numbers=QUICK)
    assert torch.equal(torch.rand(1), expected)


def test_sd3_with_its_third_text_encoder(sd3_folder: Path, tmp_path: Path, prepared: PreparedReference):
    import shutil

    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    folder = tmp_path / "with-t5"
    shutil.copytree(sd3_folder, folder)
    config = T5Config(vocab_size=4, d_model=48, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder / "text_encoder_3", max_shard_size="8KB")
    assert (folder / "text_encoder_3" / "model.safetensors.index.json").exists(), "in several files, as on the hub"
    words = Tokenizer(WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>").save_pretrained(
        folder / "tokenizer_3"
    )
    loaded = load_sd3(folder)
    assert loaded.pipeline.text_encoder_3 is not None
    assert build_pair(prepared, "diffusion", None, 1, loaded, numbers=QUICK).design.size == (SIDE, SIDE)


def test_folders_that_hold_no_sd3_say_so(sd3_folder: Path, tmp_path: Path):
    import shutil

    with pytest.raises(BaseError, match=r"no hoop\.json"):
        load_sd3(tmp_path)
    shutil.copytree(sd3_folder, tmp_path / "half", ignore=shutil.ignore_patterns("control_tile"))
    with pytest.raises(BaseError, match="cannot be loaded"):
        load_sd3(tmp_path / "half")


def test_parts_come_over_one_by_one_where_memory_is_short(sd3_folder: Path):
    roomy, tight = (design_plan(sd3_folder, free, torch.bfloat16) for free in (80e9, 1e9))
    assert not roomy.offload
    assert tight.offload
    assert "one after the other" in tight.describe()
    assert roomy.need == tight.need > 1.6e9


def test_a_style_is_learnt_from_a_drawn_pair(base: Base):
    config = train_config(
        "paper",
        stage_one_steps=2,
        total_steps=3,
        rank=2,
        analysis_steps=0,
        sample_designs=1,
        preview_every=0,
        complement=ComplementConfig(count=2, steps=2, feature_steps=0),
    )
    source = PairInput(stitched_photo(), builder="diffusion", caption="patch")
    with pytest.raises(DiffusionUnavailableError, match="by itself"):
        train_style(base, source, config)
    style = train_style(base, source, config, design_model=designs_of(base))
    assert style.manifest["pair_builder"] == "diffusion"
    assert style.report["pair"]["model"] == "tiny-sdxl"
    assert style.report["pair"]["numbers"]["prompt"].endswith("patch")

"""What a run of a UNet keeps, counted without data, against a run with data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from tests.engine.tiny_sdxl import SIDE, save_tiny_sdxl
from worker.engine import memory
from worker.engine.activations import Kept, Live, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sdxl(tmp_path_factory.mktemp("tiny-sdxl"))


@pytest.fixture
def unet(folder: Path) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(folder / "unet").to(torch.bfloat16)


def test_what_training_keeps_is_what_autograd_keeps(folder: Path, unet: Any) -> None:
    from peft import LoraConfig

    estimated = memory._kept_by_training(folder, 4, checkpointing=False)
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    unet.to(torch.bfloat16)
    trained = sum(p.numel() for p in unet.parameters() if p.requires_grad)
    with Kept(unet) as kept:
        run(unet, 2, SIDE // 8)
    assert estimated == pytest.approx(16 * trained + 1.4 * kept.bytes, rel=0.02)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_freed_does_not_count_for_the_peak(device: str) -> None:
    layer, x = nn.Linear(10, 20, bias=False).to(device), torch.empty(4, 10, device=device)
    with torch.no_grad(), Live() as live:
        y = layer(x)
        assert live.bytes == 4 * 20 * 4, "neither the weights nor the input were made inside"
        z = y.view(2, 40) * 2
        assert live.bytes == 2 * 320
        del y
        assert live.bytes == 320
        z = z + 1
    assert (live.bytes, live.peak) == (320, 640)
    assert z.shape == (2, 40)


def test_a_rendering_needs_what_the_unet_holds_at_once(
    folder: Path, unet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad(), Live() as live:
        run(unet, 8, SIDE // 8)  # four drafts, each with and without its prompt
        assert live.bytes == 0, "nothing is kept"
    bare = memory._peak_of_rendering(folder)
    assert live.peak * 1.7 < bare, "control's additions to the skips are there as well"
    # Where the decoder needs less than the UNet held before it, as tile by tile, the UNet's need counts.
    monkeypatch.setattr(memory, "DECODER_BYTES", 0.0)
    assert memory.plan(folder, 0, ("vae_tiling",), torch.bfloat16, trains=False).need.rendering >= bare

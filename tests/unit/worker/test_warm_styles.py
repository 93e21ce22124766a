"""The style that stays on a warm base between renders, and who may find it there."""

from pathlib import Path

import pytest
import torch

from backend.core.config import Settings
from tests.engine.test_adapter import strong_adapter
from tests.engine.tiny_base import save_tiny_base
from worker.engine.adapter import style_on
from worker.handlers import rendering_config
from worker.runtime import ADAPTERS_KEPT, Runtime


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(Settings(data_dir=tmp_path, base_dir=save_tiny_base(tmp_path / "base")))


def weights(base):
    return torch.cat([parameter.flatten() for parameter in base.unet.parameters()])


def test_a_render_finds_the_last_style_and_anything_else_the_plain_base(runtime):
    with runtime.base("tiny") as base:
        plain, style = weights(base), strong_adapter(base)
        with style_on(base, style):
            styled = weights(base)
        assert torch.equal(weights(base), plain)
    with runtime.base("tiny", styled=True) as base, style_on(base, style):
        pass
    with runtime.base("tiny", styled=True) as base:
        assert torch.equal(weights(base), styled)
        with style_on(base, None):
            assert torch.equal(weights(base), plain)
        with style_on(base, style):
            pass
    with runtime.base("tiny") as base:
        assert torch.equal(weights(base), plain)
        assert base.swap.kept_bytes == 0


def test_however_many_styles_are_used_few_are_kept(runtime):
    with runtime.base("tiny") as base:
        data = strong_adapter(base).to_bytes()
    for number in range(3 * ADAPTERS_KEPT):
        runtime.adapter(str(number), lambda: data)
    assert len(runtime._adapters) == ADAPTERS_KEPT


def test_who_names_steps_or_guidance_gets_them():
    def allowed(**numbers):
        return rendering_config("flat", from_text=False, split_prompts=False, **numbers).few_steps

    assert allowed()
    assert allowed(strength=0.5, steps=None)
    assert not allowed(steps=12)
    assert not allowed(guidance=3.0)

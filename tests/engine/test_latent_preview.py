"""Pictures to look at while the sampler runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.engine.test_batch import design
from tests.engine.test_infer import FLAT
from tests.engine.test_train import Recorder
from tests.engine.tiny_sdxl import SIDE, save_tiny_sdxl
from worker.engine.bases import image_to_tensor, load_base
from worker.engine.config import render_config
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.latent_preview import LatentMap, preview


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return load_base(save_tiny_sdxl(tmp_path_factory.mktemp("tiny-sdxl")))


def correlation(some, others):
    return float(np.corrcoef(np.asarray(some).ravel(), np.asarray(others).ravel())[0, 1])


def test_a_linear_decoder_is_found_again():
    source = torch.Generator().manual_seed(0)
    latents = torch.randn(3, 4, 8, 8, generator=source)
    weight, bias = torch.randn(3, 4, generator=source) * 0.1, torch.tensor([0.1, 0.0, -0.2])
    small = torch.einsum("rc,bchw->brhw", weight, latents) + bias[:, None, None]
    pictures = F.interpolate(small, scale_factor=8, mode="nearest")
    found = LatentMap.fitted(latents, pictures)
    assert torch.allclose(found.weight, weight, atol=1e-4)
    assert torch.allclose(found.bias, bias, atol=1e-4)
    seen = found(latents, 8)
    assert seen.shape == pictures.shape
    assert correlation(F.interpolate(seen, (8, 8), mode="area"), small) > 0.9
    assert seen[..., 3:5, 3:5].mean() == pytest.approx(float(small[..., 0, 0].mean()), abs=0.05)


@pytest.fixture
def trained(sdxl, monkeypatch):
    """With what a trained autoencoder does in the place of a random one: colours as bent sums, at an eighth."""
    source = torch.Generator().manual_seed(1)
    mix = torch.randn(4, 3, generator=source) * 0.4

    def encode(pictures):
        small = F.interpolate(pictures, scale_factor=1 / 8, mode="area")
        return torch.tanh(torch.einsum("cr,brhw->bchw", mix, small))

    def decode(latents):
        small = torch.einsum("rc,bchw->brhw", torch.linalg.pinv(mix), torch.atanh(latents))
        return F.interpolate(small, scale_factor=8, mode="bicubic").clamp(-1, 1)

    monkeypatch.setattr(sdxl, "encode_images", encode)
    monkeypatch.setattr(sdxl, "decode_latents", decode)
    yield sdxl
    sdxl.latent_map = None


def test_it_shows_what_the_decoder_would(trained):
    latents = trained.encode_images(image_to_tensor([design(seed, SIDE) for seed in range(3)]))
    seen = image_to_tensor(preview(trained, latents))
    decoded = trained.decode_latents(latents)
    assert seen.shape == decoded.shape
    assert correlation(seen, decoded) > 0.95


def test_previews_of_a_large_autoencoder_decode_nothing_and_are_fitted_once(sdxl, monkeypatch):
    calls = {"decode": 0, "encode": 0}
    for kind, name in (("decode", "decode_latents"), ("encode", "encode_images")):
        real = getattr(sdxl, name)

        def counted(given, kind=kind, real=real):
            calls[kind] += 1
            return real(given)

        monkeypatch.setattr(sdxl, name, counted)
    config = render_config("flat", small=False, steps=6, preview_every=1)
    progress = Recorder()
    Renderer(sdxl).render(None, RenderRequest(design=design(1), config=config), progress)
    assert len(progress.previews) == 5
    assert calls["decode"] == 1  # the result
    encoded = calls["encode"]
    assert {picture.size for picture in progress.previews} == {(SIDE, SIDE)}
    Renderer(sdxl).render(None, RenderRequest(design=design(1), config=config), progress)
    assert calls["encode"] == encoded + 1  # the design alone
    assert calls["decode"] == 2


def test_a_tiny_autoencoder_decodes_its_own(base):
    latents = torch.randn(1, base.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    (seen,) = preview(base, latents)
    assert seen.size == (32, 32)
    assert base.latent_map is None
    progress = Recorder()
    config = replace(FLAT, preview_every=1, strength=1.0)
    Renderer(base).render(None, RenderRequest(design=design(1), config=config), progress)
    assert progress.previews

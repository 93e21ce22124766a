"""The autoencoder of the bundled base: f = 4, four channels, threads kept.

An `AutoencoderTiny` whose first and last level hold no blocks: the work is done at half size and below, which trains
about as fast as a pixel-unshuffled network and decodes 256 px in 0.07 s on two cores. At f = 8 the stitches vanish
(0.01-0.07 of their high-frequency energy survives the same training), so f = 4 it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from worker.atelier.corpus import Pairs
from worker.atelier.loop import Averaged, autocast, log_line, save_state, warmup_decay

CROP, BATCH, PEAK_RATE = 64, 32, 2e-3


def build_autoencoder() -> AutoencoderTiny:
    """An untrained autoencoder of 1.0 M parameters."""
    return AutoencoderTiny(
        encoder_block_out_channels=(48, 48, 48),
        decoder_block_out_channels=(48, 48, 48),
        num_encoder_blocks=(0, 2, 4),
        num_decoder_blocks=(5, 2, 0),
        latent_channels=4,
    )


def _crops(pairs: Pairs, rng: np.random.Generator) -> Tensor:
    """A batch of crops, three quarters of them embroidery, mirrored, turned and recoloured at random."""
    batch = np.empty((BATCH, CROP, CROP, 3), np.uint8)
    size = pairs.designs.shape[1]
    for i in range(BATCH):
        source = pairs.embroideries if rng.random() < 0.75 else pairs.designs
        y, x = rng.integers(0, size - CROP, 2)
        crop = source[rng.integers(len(source)), y : y + CROP, x : x + CROP]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if rng.random() < 0.5:
            crop = crop.transpose(1, 0, 2)
        if rng.random() < 0.3:
            crop = crop[..., rng.permutation(3)]
        batch[i] = crop
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1, L1 of the gradients (it keeps threads sharp) and a little squared error (it keeps colours true)."""
    error = output - target
    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    return error.abs().mean() + 0.5 * (across.abs().mean() + down.abs().mean()) + 0.5 * error.square().mean()


def train_autoencoder(
    pairs: Pairs,
    folder: Path,
    minutes: float,
    *,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> AutoencoderTiny:
    """Trains for `minutes`, on from the weights that are there.

    Leaves the averaged weights in `folder`, with latents of zero mean and unit deviation.
    """
    model = build_autoencoder()
    if (folder / "config.json").exists():
        model = AutoencoderTiny.from_pretrained(folder)
    model.to(device, memory_format=torch.channels_last).train()
    torch.manual_seed(0)
    rng = np.random.default_rng(int(time.time()))
    parameters = list(model.parameters())
    optimiser = torch.optim.AdamW(parameters, PEAK_RATE, betas=(0.9, 0.98), weight_decay=1e-4)
    average = Averaged(parameters, 0.998)
    begin, step, smooth = time.monotonic(), 0, 0.0
    saved = begin
    while (done := (time.monotonic() - begin) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * warmup_decay(step, done, warmup=100, decay_from=0.3)
        batch = _crops(pairs, rng).to(device, memory_format=torch.channels_last)
        with autocast(device):
            latents = model.encoder(batch)
            # A little noise makes the decoder forgive what a diffusion model leaves behind.
            output = model.decoder(latents + 0.03 * torch.randn_like(latents))
        latents = latents.float()
        moments = latents.mean((0, 2, 3)).square().mean() + (latents.var((0, 2, 3)) - 1).square().mean()
        loss = reconstruction_loss(output.float(), batch) + 2e-3 * moments
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        average.update()
        smooth = loss.item() if step == 1 else 0.98 * smooth + 0.02 * loss.item()
        if step % 50 == 0:
            psnr = -10 * math.log10((output.float() - batch).square().mean().item() / 4)
            report(log_line("autoencoder", step, done, begin, step * BATCH, loss=smooth, psnr=psnr))
        if time.monotonic() - saved > 180:
            saved = time.monotonic()
            save_state(folder, average, lambda: model.save_pretrained(folder))
    average.copy_to_model()
    normalise_latents(model, pairs, device)
    model.eval().save_pretrained(folder)
    return model


@torch.no_grad()
def normalise_latents(model: AutoencoderTiny, pairs: Pairs, device: str = "cpu") -> None:
    """Folds mean and deviation of the corpus' latents into the convolutions next to them.

    AutoencoderTiny has no place for channel statistics, and the diffusion wants them out of its way.
    """
    rng = np.random.default_rng(0)
    found = torch.cat([model.encoder(_crops(pairs, rng).to(device)).float() for _ in range(24)])
    mean, deviation = found.mean((0, 2, 3)), found.std((0, 2, 3))
    last = model.encoder.layers[-1]
    last.weight.div_(deviation[:, None, None, None])
    if last.bias is not None:
        last.bias.sub_(mean).div_(deviation)
    first = model.decoder.layers[0]
    first.bias.add_(first.weight.sum((2, 3)) @ mean)
    first.weight.mul_(deviation[None, :, None, None])


@torch.no_grad()
def encode_corpus(model: AutoencoderTiny, images: np.ndarray, device: str = "cpu") -> Tensor:
    """uint8 [N, S, S, 3] to latents, float16 [N, 4, S/4, S/4], on the CPU."""
    latents = []
    for start in range(0, len(images), 32):
        batch = torch.from_numpy(images[start : start + 32]).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        with autocast(device):
            latents.append(model.encoder(batch.to(device, memory_format=torch.channels_last)).to("cpu", torch.float16))
    return torch.cat(latents)

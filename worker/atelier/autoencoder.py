"""The autoencoder of the bundled base: f = 4, eight channels, threads kept.

An `AutoencoderTiny` whose first and last level hold no blocks: the work is done at half size and below, which decodes
256 px in a fifth of a second on two cores. At f = 8 the stitches vanish (0.01-0.07 of their high-frequency energy
survives the same training), so f = 4 it is; with four channels fine threads were partly lost, hence eight.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from worker.atelier.corpus import Pool
from worker.atelier.drafts import SEWN
from worker.atelier.loop import Averaged, autocast, log_line, save_state, warmup_decay
from worker.atelier.network import LATENT_CHANNELS
from worker.atelier.optimiser import TwoOptimisers

CROP, PEAK_RATE = 64, 2e-3
SEWN_SHARE = 0.7
SPECTRUM = 1.0
"""Weight of the spectrum in the loss: a tenth of it gives the same PSNR and softer threads (docs/hoop-mini.md)."""
SETTLED_FROM = 0.8
"""Share of the time after which latents no longer change."""


def build_autoencoder() -> AutoencoderTiny:
    """An untrained autoencoder of 1.7 M parameters."""
    return AutoencoderTiny(
        encoder_block_out_channels=(64, 64, 64),
        decoder_block_out_channels=(64, 64, 64),
        num_encoder_blocks=(0, 2, 4),
        num_decoder_blocks=(6, 2, 0),
        latent_channels=LATENT_CHANNELS,
    )


def _crops(pool: Pool, count: int) -> Tensor:
    """[count, 3, CROP, CROP] in [-1, 1]: mostly embroidery, mirrored, turned and recoloured at random."""
    device, side = pool.device, min(CROP, pool.size)
    design = torch.randint(0, pool.count, (count, 1, 1, 1), device=device)
    sewn = torch.rand(count, 1, 1, 1, device=device) < SEWN_SHARE
    view = torch.where(
        sewn, torch.randint(SEWN[0], SEWN[-1] + 1, design.shape, device=device), torch.randint_like(design, 2)
    )
    corner = torch.randint(0, pool.size - side + 1, (2, count, 1, 1, 1), device=device)
    steps = torch.arange(side, device=device)
    rows, columns = steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)
    mirror = torch.rand(2, count, 1, 1, 1, device=device) < 0.5
    rows = torch.where(mirror[0], side - 1 - rows, rows)
    columns = torch.where(mirror[1], side - 1 - columns, columns)
    colour = torch.arange(3, device=device).expand(count, 3)
    order = torch.rand(count, 3, device=device).argsort(1)
    colour = torch.where(torch.rand(count, 1, device=device) < 0.3, order, colour).view(count, 3, 1, 1)
    crops = pool.pictures[design, view, colour, corner[0] + rows, corner[1] + columns]
    turned = torch.rand(count, 1, 1, 1, device=device) < 0.5
    crops = torch.where(turned, crops.transpose(2, 3), crops)
    return crops.float().div(127.5).sub(1)


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1, L1 of the gradients (threads stay sharp), squared error (colours stay true), spectrum (texture keeps energy).

    The spectrum is compared by magnitude alone: a thread a third of a pixel off is no fault, a missing one is.
    """
    error = output - target
    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    plain = error.abs().mean() + 0.5 * (across.abs().mean() + down.abs().mean()) + 0.5 * error.square().mean()
    spectra = [torch.fft.rfft2(x.mean(1), norm="ortho").abs() for x in (output, target)]
    total: Tensor = plain + SPECTRUM * (spectra[0] - spectra[1]).abs().mean()
    return total


def train_autoencoder(
    pool: Pool,
    folder: Path,
    minutes: float,
    device: str = "cpu",
    batch: int = 32,
    report: Callable[[str], None] = print,
    *,
    decoder_alone: bool = False,
) -> AutoencoderTiny:
    """Trains for `minutes`, on from the weights that are there.

    Leaves the averaged weights in `folder`, with latents of zero mean and unit deviation.

    Args:
        pool: Pictures to learn from.
        folder: The autoencoder's, in diffusers' format.
        minutes: How long.
        device: `cpu` or `cuda`.
        batch: Crops in a step.
        report: Takes lines of log.
        decoder_alone: The encoder stays as it is, for a UNet that has learnt its latents.
    """
    model = build_autoencoder()
    if (folder / "config.json").exists():
        model = AutoencoderTiny.from_pretrained(folder)
    model.to(device, memory_format=torch.channels_last).train()
    torch.manual_seed(int(time.time()))
    model.encoder.requires_grad_(not decoder_alone)
    parameters = list(model.parameters())
    optimiser = TwoOptimisers(list(model.named_parameters()), lambda _: 1.0, PEAK_RATE, fused=True)
    average = Averaged(parameters, 0.998)
    begin, step, settled = time.monotonic(), 0, decoder_alone
    saved = begin
    while (done := (time.monotonic() - begin) / (60 * minutes)) < 1:
        optimiser.set_rate(PEAK_RATE * warmup_decay(step, done, warmup=100, decay_from=0.3))
        if done > SETTLED_FROM and not settled:
            # The last part of the time is the decoder's, with latents as the diffusion will see them.
            average.copy_to_model()
            normalise_latents(model, pool)
            model.encoder.requires_grad_(requires_grad=False)
            average, settled = Averaged(parameters, 0.998), True
        crops = _crops(pool, batch).contiguous(memory_format=torch.channels_last)
        with autocast(device):
            latents = model.encoder(crops)
            # A little noise makes the decoder forgive what a diffusion model leaves behind.
            output = model.decoder(latents + 0.03 * torch.randn_like(latents))
        latents, output = latents.float(), output.float()
        moments = latents.mean((0, 2, 3)).square().mean() + (latents.var((0, 2, 3)) - 1).square().mean()
        loss = reconstruction_loss(output, crops) + 2e-3 * moments
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        average.update()
        if step % 100 == 0:
            psnr = -10 * math.log10((output - crops).square().mean().item() / 4)
            report(log_line("autoencoder", step, done, begin, step * batch, loss=loss.item(), psnr=psnr))
        if time.monotonic() - saved > 180:
            saved = time.monotonic()
            save_state(folder, average, lambda: model.save_pretrained(folder))
    average.copy_to_model()
    model.eval()
    # Of a whole base, weights have half precision; what is to be trained on keeps its own.
    (copy.deepcopy(model).to(torch.bfloat16) if decoder_alone else model).save_pretrained(folder)
    return model


@torch.no_grad()
def normalise_latents(model: AutoencoderTiny, pool: Pool) -> None:
    """Folds mean and deviation of the corpus' latents into the encoder's last and the decoder's first convolution.

    AutoencoderTiny has no place for channel statistics, and the diffusion wants them out of its way. The decoder bends
    its input by a tanh, so the fold is not exact there: let it train on.
    """
    found = torch.cat([model.encoder(_crops(pool, 32)).float() for _ in range(24)])
    mean, deviation = found.mean((0, 2, 3)), found.std((0, 2, 3))
    last, first = model.encoder.layers[-1], model.decoder.layers[0]
    last.weight.div_(deviation[:, None, None, None])
    last.bias.sub_(mean).div_(deviation)
    first.bias.add_(first.weight.sum((2, 3)) @ mean)
    first.weight.mul_(deviation[None, :, None, None])


def encoder_of(model: AutoencoderTiny, device: str) -> Callable[[Tensor], Tensor]:
    """A function from pictures [B, 3, S, S] in [-1, 1] to latents, for `Pool.encode_with`."""

    @torch.no_grad()
    def encode(pictures: Tensor) -> Tensor:
        with autocast(device):
            latents: Tensor = model.encoder(pictures.contiguous(memory_format=torch.channels_last))
        return latents.float()

    return encode

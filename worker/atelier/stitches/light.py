"""Light on threads: diffuse, a highlight along the thread and one across it, shadows on the cloth."""

from __future__ import annotations

import torch
from torch import Tensor

from worker.atelier.stitches.canvas import Canvas, Cover
from worker.atelier.stitches.fields import blur, hash01, shifted
from worker.atelier.stitches.label_map import SUPERSAMPLING


def direction(canvas: Canvas) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vector to the light of every style, each part [B, 1, 1]."""
    angle, low = canvas.of("light"), 0.70 - 0.22 * canvas.of("softness")
    return torch.cos(angle) * low, torch.sin(angle) * low, (1 - low * low).sqrt()


def shade_threads(canvas: Canvas, cover: Cover, ink: Tensor) -> Tensor:
    """Lit threads.

    Diffuse light, a Kajiya-Kay highlight along the thread (Kajiya and Kay 1989) and a Blinn one across it; foil also
    glints facet by facet.

    Args:
        canvas: Styles and coordinates.
        cover: The threads.
        ink: RGB of each sample's thread, [B, 3, S, S].

    Returns:
        RGB [B, 3, S, S]; highlights may exceed 1.
    """
    seed = canvas.seed
    luck = cover.identity - 0.5
    tint = hash01((cover.identity * 1e6).to(torch.int64), seed + 3) - 0.5
    warm = torch.tensor([0.03, 0.0, -0.03], device=ink.device).view(1, 3, 1, 1)
    # Threads lie in bundles, some higher than others: brightness also changes over several of them.
    bundle = canvas.noise(max(8, canvas.size // 18), 73)
    colour = ink * (1 + canvas.of("jitter") * (2 * luck + 0.7 * bundle))[:, None] + tint[:, None] * warm

    heading, dive = cover.heading, cover.dive
    across = cover.across.clamp(-0.97, 0.97)
    c, s = torch.cos(heading), torch.sin(heading)
    nx, ny = -s * across * 0.7 + c * dive, c * across * 0.7 + s * dive
    slope = dive
    if cover.tilt is not None:
        tx, ty = cover.tilt
        nx, ny = nx + tx, ny + ty
        slope = slope - 0.9 * (c * tx + s * ty)
    nz = (1 - 0.8 * across * across).clamp(min=0.12).sqrt()
    norm = (nx * nx + ny * ny + nz * nz).rsqrt()
    nx, ny, nz = nx * norm, ny * norm, nz * norm

    lx, ly, lz = direction(canvas)
    diffuse = (nx * lx + ny * ly + nz * lz).clamp(0, 1)
    half = (lx * lx + ly * ly + (lz + 1) * (lz + 1)).rsqrt()
    hx, hy, hz = lx * half, ly * half, (lz + 1) * half
    lean = (c * hx + s * hy + slope * hz) * (1 + slope * slope).rsqrt()
    strand = (1 - lean * lean).clamp(0, 1) ** 14 * nz.clamp(0, 1).square()
    gloss = (nx * hx + ny * hy + nz * hz).clamp(0, 1) ** 24

    sheen = canvas.of("sheen")
    lustre = torch.ones_like(strand) if cover.lustre is None else cover.lustre
    metallic = canvas.is_any("material", "metallic")
    if any(s.material == "metallic" for s in canvas.styles):
        facet = hash01((cover.identity * 4096).to(torch.int64) * 64 + (4 * across + 8).to(torch.int64), seed + 17)
        flakes = (0.5 + 0.5 * canvas.noise(canvas.size // 3, 71)).clamp(0, 1)
        lustre = torch.where(metallic, lustre * (0.25 + 2.2 * (0.6 * facet + 0.4 * flakes) ** 3), lustre)
        colour = torch.where(metallic[:, None], colour * 0.82, colour)
    highlight = sheen * lustre * (0.36 * strand + 0.30 * gloss) * (0.5 + 0.5 * cover.shade.clamp(0, 1))
    ambient = 0.36 + 0.14 * canvas.of("softness")
    light = (ambient + (1.28 - ambient) * diffuse) * cover.shade * (1 - 0.16 * across.abs() ** 3)
    own = torch.where(metallic[:, None], 0.15 + 0.85 * colour, 0.48 + 0.52 * colour)
    return colour * light[:, None] + highlight[:, None] * own


def lay_on_cloth(canvas: Canvas, thread: Tensor, covered: Tensor, hole: Tensor | None, cloth: Tensor) -> Tensor:
    """Composites with a fuzzy edge, cast shadow, needle holes and the dent the stitches pull into the cloth."""
    k = SUPERSAMPLING
    mask = covered.to(torch.float32)
    alpha = blur(mask, 0.42 * k)
    fuzz = canvas.of("fuzz")
    halo = blur(mask, 1.5 * k)
    stray = canvas.noise(canvas.size // 3, 81) * 0.4 * fuzz
    alpha = (alpha + stray * halo * (1 - halo) * 4).clamp(0, 1)
    thread = thread * (1 + 0.09 * fuzz * canvas.noise(canvas.size // 3, 82))[:, None]

    lx, ly, _ = direction(canvas)
    deep = blur(mask, 2.2 * k)
    cast = shifted(halo, -lx * 2.6 * k, -ly * 2.6 * k)
    hard = 1 - canvas.of("softness")
    # Thread scatters light into the gaps between stitches: there cloth is much paler than shadows beside the motif.
    dark = 1 - (0.10 + 0.30 * hard) * torch.maximum(cast * (1 - deep).clamp(0, 1), 0.15 * deep)
    if hole is not None:
        dark = dark * (1 - 0.2 * hard * hole)
    # Cloth is drawn together around the stitches: a faint slope towards them.
    shape = blur(mask, 6.0 * k)
    pull = shifted(shape, lx * 3 * k, ly * 3 * k) - shape
    cloth = cloth * (dark * (1 + 0.12 * pull))[:, None]
    # It also takes on the thread's colour there.
    about = blur(thread * mask[:, None], 2.2 * k) / deep.clamp(min=0.02)[:, None]
    cloth = torch.lerp(cloth, cloth * (0.4 + 0.6 * about), 0.35 * deep[:, None])
    # Fuzzy thread has no sharp plies, and single hairs leave it.
    if any(s.fuzz > 0.25 for s in canvas.styles):
        soft = 0.7 * (fuzz - 0.25).clamp(min=0)[:, None]
        thread = torch.lerp(thread, torch.where(covered[:, None], blur(thread, 0.8 * k), about), soft)
    picture = thread * alpha[:, None] + cloth * (1 - alpha[:, None])
    strand = canvas.noise(canvas.size // 12, 83)
    hair = (1 - strand.abs() / 0.10).clamp(0, 1) * (canvas.noise(canvas.size // 20, 84) > 0.2)
    hair = hair * deep.clamp(0, 1).sqrt() * 0.55 * (fuzz - 0.2).clamp(min=0)
    return torch.lerp(picture, about * 1.12, hair[:, None].clamp(0, 0.6))

"""Does the bundled base do what the method needs of it? Figures and a picture, on designs it never saw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worker.atelier.base import FAMILY_WORDS
from worker.atelier.designs import HELD_OUT_DESIGNS, cloth_colour, in_words, label_map, load_icons, place_on_cloth
from worker.atelier.stitches import FAMILIES, flat_design, render_embroidery, sample_style
from worker.engine.bases import Base, load_base
from worker.engine.control import Residuals
from worker.engine.control_maps import edge_map, tile_map
from worker.engine.metrics.texture import log_gabor_distance, log_gabor_statistics

SHEET_FAMILIES = ("fill", "satin", "contour", "cross", "chenille", "sequin")


def held_out_pairs(icons_folder: Path, count: int, size: int = 256) -> list[tuple[str, np.ndarray, np.ndarray, str]]:
    """(words, flat design, embroidery, family) of held-out designs, one family after another; always the same."""
    rng = np.random.default_rng(5)
    icons = [icon for icon in load_icons(icons_folder) if icon.name in HELD_OUT_DESIGNS]
    pairs = []
    for i, index in enumerate(rng.permutation(len(icons))[:count]):
        icon = icons[index]
        design = label_map(place_on_cloth(icon.raster(size * 2), size, rng), cloth_colour(rng), 7, rng)
        family = FAMILIES[i % len(FAMILIES)]
        pairs.append(
            (in_words(icon.name), flat_design(design), render_embroidery(design, sample_style(family, rng)), family)
        )
    return pairs


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def _picture(tensor: Tensor) -> np.ndarray:
    return ((tensor[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def control_of(base: Base, design: np.ndarray) -> Residuals | None:
    """Both control maps of a flat design, at full weight."""
    tile = (
        torch.from_numpy(tile_map(design, kernel=base.info.tile_kernel_at(design.shape[0])))
        .permute(2, 0, 1)[None]
        .float()
    )
    edge = torch.from_numpy(edge_map(design, *base.info.edge_thresholds))[None, None].float()
    return base.control_residuals(tile, edge)


@torch.no_grad()
def sample(
    base: Base, content: str, style: str, control: Residuals | None, *, size: int = 256, steps: int = 20
) -> np.ndarray:
    """From noise to a picture, without guidance."""
    prompts = base.encode_prompts([content])
    routed = base.encode_prompts([style]).hidden
    scheduler = type(base.scheduler).from_config(base.scheduler.config)
    scheduler.set_timesteps(steps)
    latents = torch.randn((1, 4, size // 4, size // 4), generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        velocity = base.predict(latents, t[None], prompts, base.time_ids(size), routed, control)
        latents = scheduler.step(velocity, t, latents).prev_sample
    return _picture(base.decode_latents(latents))


@torch.no_grad()
def style_sensitivity(base: Base, pairs: list[tuple[str, np.ndarray, np.ndarray, str]]) -> dict[str, float]:
    """How far the output moves (relative to its size) when style words reach only some of the blocks.

    Returns:
        `style_blocks`, `other_blocks`, `all_blocks` for the general word against a plain prompt, and `families`: the
        mean change between two families' words in the style blocks.
    """
    moved: dict[str, list[float]] = {"style_blocks": [], "other_blocks": [], "all_blocks": [], "families": []}
    generator = torch.Generator().manual_seed(0)

    def change(a: Tensor, b: Tensor) -> float:
        return float((a - b).norm() / b.norm())

    for words, design, sewn, _ in pairs:
        plain, styled = f"a {words}", f"a {words} in {base.info.style_word} style"
        control = control_of(base, design)
        clean = base.encode_images(_tensor(sewn))
        named = [f"a {words} in {FAMILY_WORDS[family][0]} style" for family in ("cross", "satin")]
        families = [base.encode_prompts([prompt]).hidden for prompt in named]
        for time in (200, 500, 800, 950):
            t = torch.tensor([time])
            noisy = base.scheduler.add_noise(clean, torch.randn(clean.shape, generator=generator), t)
            p, s = base.encode_prompts([plain]), base.encode_prompts([styled])
            ids = base.time_ids(design.shape[0])
            nothing = base.predict(noisy, t, p, ids, p.hidden, control)
            moved["style_blocks"].append(change(base.predict(noisy, t, p, ids, s.hidden, control), nothing))
            moved["other_blocks"].append(change(base.predict(noisy, t, s, ids, p.hidden, control), nothing))
            moved["all_blocks"].append(change(base.predict(noisy, t, s, ids, s.hidden, control), nothing))
            one, other = (base.predict(noisy, t, p, ids, family, control) for family in families)
            moved["families"].append(change(one, other))
    return {name: float(np.mean(values)) for name, values in moved.items()}


def evaluate_base(folder: Path, icons_folder: Path, out: Path, designs: int = 6) -> list[str]:
    """Writes `sheet.png` and `figures.json` to `out`; returns the figures as lines."""
    out.mkdir(parents=True, exist_ok=True)
    base = load_base(folder)
    pairs = held_out_pairs(icons_folder, 22)
    figures: dict[str, float] = {}
    psnr, kept, blurred = [], [], []
    for _, _, sewn, _ in pairs:
        again = _picture(base.decode_latents(base.encode_images(_tensor(sewn))))
        psnr.append(-10 * np.log10(((again.astype(float) - sewn) ** 2).mean() / 255**2))
        truth = log_gabor_statistics(sewn)
        kept.append(log_gabor_distance(log_gabor_statistics(again), truth))
        small = Image.fromarray(sewn).resize((230, 230), Image.Resampling.BILINEAR).resize((256, 256))
        blurred.append(log_gabor_distance(log_gabor_statistics(np.array(small)), truth))
    figures["autoencoder_psnr_db"] = float(np.mean(psnr))
    figures["autoencoder_log_gabor"] = float(np.mean(kept))
    figures["ten_percent_blur_log_gabor"] = float(np.mean(blurred))
    figures |= {f"sensitivity_{k}": v for k, v in style_sensitivity(base, pairs[:6]).items()}
    rows = []
    for words, design, _, _ in pairs[:designs]:
        control = control_of(base, design)
        prompts = [f"a {words}", f"a {words} in {base.info.style_word} style"]
        prompts += [f"a {words} in {FAMILY_WORDS[f][0]} style" for f in SHEET_FAMILIES]
        rows.append(np.concatenate([design, *(sample(base, prompts[0], p, control) for p in prompts)], 1))
    Image.fromarray(np.concatenate(rows)).save(out / "sheet.png")
    texts = ["red apple", "blue fish", "yellow star", "green leaf", "house", "cat"]
    text = [
        np.concatenate([sample(base, f"a {t}", f"a {t}{suffix}", None) for t in texts], 1)
        for suffix in ("", f" in {base.info.style_word} style")
    ]
    Image.fromarray(np.concatenate(text)).save(out / "text.png")
    (out / "figures.json").write_text(json.dumps(figures, indent=2))
    return [f"{name}: {value:.3f}" for name, value in figures.items()]

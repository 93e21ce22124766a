"""Designs of the training corpus before anything is rendered: what is sewn, how, and what captions say of it.

Every design has four views, all drawn from one label map: the flat artwork, another domain (felt, watercolour, ...),
and two embroideries in different styles. Each style is worn by several designs, so that a reference in the same style
can be found for any embroidery.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import CLIPTokenizer

from worker.atelier.designs import Design, Icon, caption, draw_icon, draw_procedural, fonts_in, training_icons
from worker.atelier.domains import DOMAIN_WORDS, DOMAINS
from worker.atelier.network import INFO, RESOLUTION
from worker.atelier.stitches import (
    FAMILIES,
    HELD_OUT_FAMILIES,
    NEEDS_STROKE,
    Plan,
    StitchStyle,
    digitise,
    flat_design,
    sample_style,
)
from worker.atelier.vocabulary import FAMILY_WORDS
from worker.engine.control_maps import edge_map, tile_map
from worker.engine.prompts import token_ids

CHUNK = 16
"""Designs in a draft: what a worker process makes at a time."""
VIEWS = ("flat", "domain", "first", "second")
SEWN = (2, 3)
WORDINGS = 4
"""Captions of each view: half of an embroidery's carry the general word, the others its family's."""
WEARERS = 4
"""Designs that share a style, within each of the two embroidered views."""
LANES = 64
"""The second view's styles are shared by designs this far apart, the first view's by neighbours."""
PROCEDURAL_SHARE = 0.15
FAMILY_WEIGHTS = {"fill": 3.0, "satin": 2.0, "longshort": 1.5, "contour": 1.5}
"""Machine embroidery is mostly fills; other families count 1."""
EMPTY_SHARE = 0.1
"""Prompts without content: what guidance leads away from."""


def style_of(design: int, view: int) -> int:
    """Number of the style that a design wears in an embroidered view, 2 or 3."""
    if view == SEWN[0]:
        return design // WEARERS
    return 1_000_000_000 + design // (WEARERS * LANES) * LANES + design % LANES


def partner(design: Tensor, view: Tensor, step: Tensor) -> Tensor:
    """The design that wears the same style in the same view, `step` places on; integer tensors of one shape."""
    block = design // (WEARERS * LANES) * (WEARERS * LANES)
    place = design - block
    near = design - design % WEARERS + (design % WEARERS + step) % WEARERS
    far = block + place % LANES + LANES * ((place // LANES + step) % WEARERS)
    return torch.where(view == SEWN[0], near, far)


def style_number(number: int, seed: int) -> StitchStyle:
    """The `number`th style of a corpus, of a family that may be shown in training."""
    rng = np.random.default_rng([seed, number])
    families = [f for f in FAMILIES if f not in HELD_OUT_FAMILIES]
    weights = np.array([FAMILY_WEIGHTS.get(f, 1.0) for f in families])
    return sample_style(str(rng.choice(families, p=weights / weights.sum())), rng)


def style_wording(content: str, style: StitchStyle, rng: np.random.Generator, *, general: bool) -> str:
    """`content` "in ... style": the general embroidery word, or the family's with some of its descriptors."""
    if general:
        return INFO.style_prompt(content)
    kept = [word for word in style.words() if rng.random() < 0.5]
    words = " ".join([*kept, str(rng.choice(FAMILY_WORDS[style.family]))])
    return f"{content} in {words} style".strip()


@dataclass
class Draft:
    """Some designs before anything is rendered. N designs, V views, K wordings, L tokens, S output pixels.

    Attributes:
        plans: The digitised designs.
        labels: uint8 [N, 2S, 2S].
        tile: Blurred colours, uint8 [N, 3, S, S].
        edge: 0 or 1, uint8 [N, S, S].
        tokens: int16 [N, V, K, 2, L]: what all blocks read, and what the style blocks read.
        styles: Of the two embroidered views, [2][N].
        domains: Of the second view, [N].
        names: The canonical name of each design.
    """

    plans: list[Plan]
    labels: Tensor
    tile: Tensor
    edge: Tensor
    tokens: Tensor
    styles: list[list[StitchStyle]]
    domains: list[str]
    names: list[str]


@dataclass(frozen=True)
class _Drafted:
    """One design of a draft; its views' texts are view by view, wording by wording, content before style."""

    name: str
    labels: npt.NDArray[np.uint8]
    plan: Plan
    tile: npt.NDArray[np.uint8]
    edge: npt.NDArray[np.uint8]
    texts: list[str]
    styles: list[StitchStyle]
    domain: str


class Drafts(Dataset[Draft]):
    """Drafts by number; each follows from the number and the seed alone.

    Args:
        icons: Folder of the icon packages; None for procedural designs only.
        text: Folder that holds `tokenizer/`.
        chunks: How many drafts there are.
        size: Output pixels a side.
        seed: Of the whole corpus.
    """

    def __init__(self, icons: Path | None, text: Path, chunks: int, size: int = RESOLUTION, seed: int = 0) -> None:
        self.icons, self.text, self.chunks, self.size, self.seed = icons, text, chunks, size, seed

    def __len__(self) -> int:
        return self.chunks

    @cached_property
    def _sources(self) -> tuple[list[Icon], tuple[Path, ...], CLIPTokenizer]:
        """Icons in the corpus' own order, fonts, and the tokenizer: read by the process that drafts."""
        tokenizer = CLIPTokenizer.from_pretrained(self.text / "tokenizer")
        if self.icons is None:
            return [], (), tokenizer
        icons = training_icons(self.icons)
        order = np.random.default_rng([self.seed, 7]).permutation(len(icons))
        return [icons[i] for i in order], fonts_in(self.icons), tokenizer

    def __getitem__(self, chunk: int) -> Draft:
        made = [self._one(number) for number in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
        tokens = token_ids(self._sources[2], [text for one in made for text in one.texts])
        return Draft(
            [one.plan for one in made],
            torch.from_numpy(np.stack([one.labels for one in made])),
            torch.from_numpy(np.stack([one.tile for one in made])).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(np.stack([one.edge for one in made])),
            tokens.to(torch.int16).view(CHUNK, len(VIEWS), WORDINGS, 2, -1),
            [[one.styles[slot] for one in made] for slot in range(len(SEWN))],
            [one.domain for one in made],
            [one.name for one in made],
        )

    def _one(self, number: int) -> _Drafted:
        rng = np.random.default_rng([self.seed, 11, number])
        drawn = self._draw(number, rng)
        styles = [
            replace(style_number(style_of(number, view), self.seed), seed=int(rng.integers(1 << 30))) for view in SEWN
        ]
        domain = str(rng.choice(DOMAINS))
        texts = []
        for view in VIEWS:
            for k in range(WORDINGS):
                content = "" if rng.random() < EMPTY_SHARE else caption(drawn.names, drawn.map, rng)
                styled = content
                if view == "domain":
                    word = str(rng.choice(DOMAIN_WORDS[domain]))
                    styled = f"{content} in {word} style".strip() if word else content
                elif view != "flat":
                    styled = style_wording(content, styles[int(view == "second")], rng, general=k < WORDINGS // 2)
                texts += [content, styled]
        flat = flat_design(drawn.map)
        tile = tile_map(flat, kernel=INFO.tile_kernel_at(self.size))
        return _Drafted(
            drawn.names[0],
            drawn.map.labels,
            digitise(drawn.map, stroke=any(s.family in NEEDS_STROKE for s in styles)),
            (tile * 255 + 0.5).astype(np.uint8),
            edge_map(flat, *INFO.edge_thresholds).astype(np.uint8),
            texts,
            styles,
            domain,
        )

    def _draw(self, number: int, rng: np.random.Generator) -> Design:
        icons, fonts, _ = self._sources
        if rng.random() >= PROCEDURAL_SHARE and icons:
            # Three icons for each design: the first that can be sewn is.
            for i in range(3 * number, 3 * number + 3):
                design = draw_icon(icons[i % len(icons)], self.size, rng)
                if design is not None:
                    return design
        return draw_procedural(self.size, rng, fonts)

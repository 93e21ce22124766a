"""The training corpus: designs drafted on the CPU, sewn and painted on the training's device, kept in its memory.

A `Draft` is everything of some designs that needs no pixels of thread: label maps, plans, control maps, captions as
tokens, styles. `Pool` renders drafts and holds what comes out. Every design has four views, all drawn from one label
map: the flat artwork, another domain (felt, watercolour, ...), and two embroideries in different styles. Each style is
worn by several designs, so that a reference in the same style can be found for any embroidery.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTokenizer

from worker.atelier.designs import Design, Icon, caption, draw_icon, draw_procedural, fonts_in, training_icons
from worker.atelier.domains import DOMAIN_WORDS, DOMAINS, paint
from worker.atelier.network import INFO, RESOLUTION
from worker.atelier.stitches import (
    FAMILIES,
    HELD_OUT_FAMILIES,
    NEEDS_STROKE,
    SUPERSAMPLING,
    LabelMap,
    Plan,
    Plans,
    StitchStyle,
    digitise,
    flat_design,
    render_batch,
    sample_style,
)
from worker.atelier.vocabulary import FAMILY_WORDS
from worker.engine.control_maps import edge_map, tile_map
from worker.engine.prompts import token_ids

CHUNK = 16
"""Designs in a draft: what one worker process makes at a time."""
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


def wearer_of(design: int, view: int) -> tuple[int, int]:
    """(number of the style, place among its wearers) of a design's embroidered view, 2 or 3."""
    if view == SEWN[0]:
        return design // WEARERS, design % WEARERS
    block, place = divmod(design, WEARERS * LANES)
    return 1_000_000_000 + block * LANES + place % LANES, place // LANES


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


def style_wording(content: str, style: StitchStyle, general: bool, rng: np.random.Generator) -> str:
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
        plans: The digitised designs, field by field as they are stored.
        labels: uint8 [N, 2S, 2S].
        tile: Blurred colours, uint8 [N, 3, S, S].
        edge: 0 or 1, uint8 [N, S, S].
        tokens: int16 [N, V, K, 2, L]: what all blocks read, and what the style blocks read.
        styles: Of the two embroidered views, [2][N].
        domains: Of the second view, [N].
        names: The canonical name of each design.
    """

    plans: dict[str, Tensor]
    labels: Tensor
    tile: Tensor
    edge: Tensor
    tokens: Tensor
    styles: list[list[StitchStyle]]
    domains: list[str]
    names: list[str]


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
        self._loaded: tuple[list[Icon], tuple[Path, ...], CLIPTokenizer] | None = None

    def __len__(self) -> int:
        return self.chunks

    def __getitem__(self, chunk: int) -> Draft:
        if self._loaded is None:
            icons, fonts = ([], ()) if self.icons is None else (training_icons(self.icons), fonts_in(self.icons))
            self._loaded = icons, fonts, CLIPTokenizer.from_pretrained(self.text / "tokenizer")
        icons, fonts, tokenizer = self._loaded
        order = np.random.default_rng([self.seed, 7]).permutation(len(icons))
        designs = range(chunk * CHUNK, (chunk + 1) * CHUNK)
        # Three icons for each design: the first that can be sewn is.
        made = [
            self._one(n, [icons[order[i % len(order)]] for i in range(3 * n, 3 * n + 3) if icons], fonts)
            for n in designs
        ]
        texts = [text for _, texts, *_ in made for text in texts]
        tokens = token_ids(tokenizer, texts).to(torch.int16).view(CHUNK, len(VIEWS), WORDINGS, 2, -1)
        return Draft(
            _packed([plan for _, _, plan, *_ in made]),
            torch.from_numpy(np.stack([design.labels for design, *_ in made])),
            torch.from_numpy(np.stack([maps[0] for *_, maps, _, _, _ in made])).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(np.stack([maps[1] for *_, maps, _, _, _ in made])),
            tokens,
            [[styles[k] for *_, styles, _, _ in made] for k in range(2)],
            [domain for *_, domain, _ in made],
            [name for *_, name in made],
        )

    def _one(
        self, number: int, icons: list[Icon], fonts: tuple[Path, ...]
    ) -> tuple[LabelMap, list[str], Plan, tuple[Any, Any], list[StitchStyle], str, str]:
        rng = np.random.default_rng([self.seed, 11, number])
        drawn = self._draw(icons, fonts, rng)
        design, names = drawn.map, drawn.names
        styles = []
        for view in SEWN:
            style = style_number(wearer_of(number, view)[0], self.seed)
            styles.append(replace(style, seed=int(rng.integers(1 << 30))))
        domain = str(rng.choice(DOMAINS))
        texts = []
        for view in VIEWS:
            for k in range(WORDINGS):
                content = "" if rng.random() < EMPTY_SHARE else caption(names, design, rng)
                styled = content
                if view == "domain":
                    word = str(rng.choice(DOMAIN_WORDS[domain]))
                    styled = f"{content} in {word} style".strip() if word else content
                elif view != "flat":
                    styled = style_wording(content, styles[int(view == "second")], k < WORDINGS // 2, rng)
                texts += [content, styled]
        plan = digitise(design, stroke=any(s.family in NEEDS_STROKE for s in styles))
        flat = flat_design(design)
        tile = tile_map(flat, kernel=INFO.tile_kernel_at(self.size))
        edge = edge_map(flat, *INFO.edge_thresholds)
        maps = ((tile * 255 + 0.5).astype(np.uint8), edge.astype(np.uint8))
        return design, texts, plan, maps, styles, domain, names[0]

    def _draw(self, icons: list[Icon], fonts: tuple[Path, ...], rng: np.random.Generator) -> Design:
        if rng.random() >= PROCEDURAL_SHARE:
            for icon in icons:
                design = draw_icon(icon, self.size, rng)
                if design is not None:
                    return design
        return draw_procedural(self.size, rng, fonts)


def _packed(plans: list[Plan]) -> dict[str, Tensor]:
    return {f.name: torch.from_numpy(np.stack([getattr(p, f.name) for p in plans])) for f in fields(Plan)}


def _unpacked(parts: list[dict[str, Tensor]], device: str) -> Plans:
    joined = {name: torch.cat([p[name] for p in parts]).to(device, non_blocking=True) for name in parts[0]}
    return Plans(**{n: v.long() if n in ("region", "ink") else v.float() for n, v in joined.items()})


def _whole(drafts: list[Draft]) -> Draft:
    """The only draft of a list: what `DataLoader` hands over, without stacking."""
    return drafts[0]


def _loader(drafts: Drafts, workers: int) -> DataLoader[Draft]:
    return DataLoader(
        drafts,
        batch_size=1,
        collate_fn=_whole,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_alone,
    )


def _alone(_: int) -> None:
    """There is a process for each core already."""
    cv2.setNumThreads(1)


class Pool:
    """Rendered designs in the memory of the training's device; it may grow while it is read.

    Attributes:
        count: Designs that are ready.
        pictures: uint8 [capacity, V, 3, S, S].
        tile: uint8 [capacity, 3, S, S].
        edge: uint8 [capacity, S, S].
        tokens: int16 [capacity, V, K, 2, L].
        latents: float16 [capacity, V, C, s, s] once `encoder` is given, else empty.
    """

    def __init__(self, capacity: int, tokens: int, size: int = RESOLUTION, device: str = "cpu") -> None:
        capacity -= capacity % CHUNK
        self.capacity, self.size, self.device, self.count = capacity, size, device, 0
        views = len(VIEWS)

        def room(*shape: int, dtype: torch.dtype = torch.uint8) -> Tensor:
            return torch.empty(capacity, *shape, dtype=dtype, device=device)

        self.pictures, self.tile, self.edge = room(views, 3, size, size), room(3, size, size), room(size, size)
        self.tokens = room(views, WORDINGS, 2, tokens, dtype=torch.int16)
        self.latents = torch.empty(0)
        self.names: list[str] = []
        self.failure: BaseException | None = None
        self._encode: Callable[[Tensor], Tensor] | None = None
        self._encoded = 0
        self._lock = threading.Lock()

    def add(self, drafts: list[Draft]) -> None:
        """Renders drafts and appends them."""
        plans = _unpacked([d.plans for d in drafts], self.device)
        labels = torch.cat([d.labels for d in drafts]).to(self.device, non_blocking=True)
        place = slice(self.count, self.count + len(labels))
        for target, name in ((self.tile, "tile"), (self.edge, "edge"), (self.tokens, "tokens")):
            target[place] = torch.cat([getattr(d, name) for d in drafts]).to(self.device, non_blocking=True)
        for view, picture in enumerate(self._views(drafts, plans, labels)):
            self.pictures[place, view] = (picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
        self.names += [name for d in drafts for name in d.names]
        self.count += len(labels)
        with self._lock:
            self._catch_up()

    def _views(self, drafts: list[Draft], plans: Plans, labels: Tensor) -> Iterator[Tensor]:
        flat = plans.palette.gather(1, labels.flatten(1).long()[..., None].expand(-1, -1, 3))
        flat = flat.view(*labels.shape, 3).permute(0, 3, 1, 2)
        yield functional.avg_pool2d(flat, SUPERSAMPLING)
        domains = [domain for d in drafts for domain in d.domains]
        painted = torch.empty(len(labels), 3, self.size, self.size, device=self.device)
        generator = torch.Generator(self.device).manual_seed(self.count)
        for domain in dict.fromkeys(domains):
            index = torch.tensor([i for i, d in enumerate(domains) if d == domain], device=self.device)
            painted[index] = paint(domain, labels[index], plans.palette[index], generator)
        yield painted
        for slot in range(2):
            yield render_batch(plans, [style for d in drafts for style in d.styles[slot]])

    def encode_with(self, encode: Callable[[Tensor], Tensor], channels: int, factor: int) -> None:
        """From now on keeps latents too. `encode` takes pictures [B, 3, S, S] in [-1, 1]."""
        cells = self.size // factor
        with self._lock:
            self.latents = torch.empty(
                self.capacity, len(VIEWS), channels, cells, cells, dtype=torch.float16, device=self.device
            )
            self._encode, self._encoded = encode, 0
            self._catch_up()

    @torch.no_grad()
    def _catch_up(self) -> None:
        while self._encode is not None and self._encoded < self.count:
            part = slice(self._encoded, min(self.count, self._encoded + 32))
            pictures = self.pictures[part].flatten(0, 1).float().div(127.5).sub(1)
            self.latents[part] = self._encode(pictures).to(torch.float16).unflatten(0, (-1, len(VIEWS)))
            self._encoded = part.stop

    @property
    def ready(self) -> int:
        """Designs with latents."""
        return self._encoded

    def grow(self, drafts: Drafts, workers: int, together: int = 4, report: Callable[[int], object] | None = None) -> None:
        """Fills the pool.

        Args:
            drafts: What to render.
            workers: Processes that draft; 0 drafts here.
            together: Drafts that are rendered at once.
            report: Told how many designs are ready.
        """
        self._take(iter(_loader(drafts, workers)), together, report)

    def grow_aside(self, drafts: Drafts, workers: int, together: int = 4) -> threading.Thread:
        """`grow` in a thread; `failure` holds what went wrong."""
        # Worker processes start here: forking beside a thread that compiles or talks to a GPU may lock up.
        batches = iter(_loader(drafts, workers))

        def work() -> None:
            try:
                self._take(batches, together, None)
            except BaseException as error:  # noqa: BLE001 - handed to the trainer, which raises it
                self.failure = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _take(self, batches: Iterator[Draft], together: int, report: Callable[[int], object] | None) -> None:
        waiting: list[Draft] = []
        for draft in batches:
            waiting.append(draft)
            room = (self.capacity - self.count) // CHUNK
            if len(waiting) < min(together, room):
                continue
            self.add(waiting[:room])
            waiting = []
            if report:
                report(self.count)
            if self.count >= self.capacity:
                return
        if waiting:
            self.add(waiting)

    def save(self, path: Path) -> None:
        """Writes what is ready, without latents."""
        n = self.count
        temporary = path.with_suffix(".tmp")
        torch.save(
            {
                **{name: getattr(self, name)[:n].cpu() for name in ("pictures", "tile", "edge", "tokens")},
                "names": self.names,
            },
            temporary,
        )
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Pool:
        """Reads a saved pool.

        Raises:
            FileNotFoundError: there is none yet.
        """
        if not path.exists():
            raise FileNotFoundError(f"No corpus at {path}: run `hoop atelier corpus` first.")
        kept = torch.load(path, weights_only=True, mmap=True)
        count, _, _, size, _ = kept["pictures"].shape
        pool = cls(count, kept["tokens"].shape[-1], size, device)
        for name in ("pictures", "tile", "edge", "tokens"):
            getattr(pool, name).copy_(kept[name])
        pool.names, pool.count = kept["names"], count
        return pool

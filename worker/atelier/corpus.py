"""The training corpus: designs drafted on the CPU, sewn and painted on the training's device, kept in its memory.

A `Draft` is everything of some designs that needs no pixels of thread: label maps, plans, control maps, captions as
tokens, styles. Worker processes make drafts and render them to a `Sheet`; the `Pool` only keeps what comes. (Rendering
in the training's own process is slower than one would think on a GPU too: its thousands of small kernels are launched
by the same Python that the training needs. Measured: 26 designs a second, and the training at a third of its speed.)
Every design has four views, all drawn from one label
map: the flat artwork, another domain (felt, watercolour, ...), and two embroideries in different styles. Each style is
worn by several designs, so that a reference in the same style can be found for any embroidery.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
        plans: The digitised designs, field by field as they are stored.
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
            [plan for _, _, plan, *_ in made],
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
        for sewn in SEWN:
            style = style_number(wearer_of(number, sewn)[0], self.seed)
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
                    styled = style_wording(content, styles[int(view == "second")], rng, general=k < WORDINGS // 2)
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


@dataclass
class Sheet:
    """Rendered designs on the CPU.

    Attributes:
        pictures: uint8 [N, V, 3, S, S].
        tile, edge, tokens, names: As in `Draft`.
    """

    pictures: Tensor
    tile: Tensor
    edge: Tensor
    tokens: Tensor
    names: list[str]


class Sheets(Dataset[Sheet]):
    """Drafts, rendered on `device`."""

    def __init__(self, drafts: Drafts, device: str = "cpu") -> None:
        self.drafts, self.device = drafts, device

    def __len__(self) -> int:
        return len(self.drafts)

    @torch.no_grad()
    def __getitem__(self, chunk: int) -> Sheet:
        draft = self.drafts[chunk]
        plans = Plans.of(draft.plans, self.device)
        generator = torch.Generator(self.device).manual_seed(self.drafts.seed * 1_000_003 + chunk)
        views = [(view.clamp(0, 1) * 255 + 0.5).to("cpu", torch.uint8) for view in _views(draft, plans, generator)]
        return Sheet(torch.stack(views, 1), draft.tile, draft.edge, draft.tokens, draft.names)


def _views(draft: Draft, plans: Plans, generator: torch.Generator) -> Iterator[Tensor]:
    labels = draft.labels.to(plans.region.device)
    flat = plans.palette.gather(1, labels.flatten(1).long()[..., None].expand(-1, -1, 3))
    yield functional.avg_pool2d(flat.view(*labels.shape, 3).permute(0, 3, 1, 2), SUPERSAMPLING)
    side = labels.shape[-1] // SUPERSAMPLING
    painted = torch.empty(len(labels), 3, side, side, device=labels.device)
    for domain in dict.fromkeys(draft.domains):
        index = torch.tensor([i for i, d in enumerate(draft.domains) if d == domain], device=labels.device)
        painted[index] = paint(domain, labels[index], plans.palette[index], generator)
    yield painted
    for styles in draft.styles:
        yield render_batch(plans, styles)


def _only(sheets: list[Sheet]) -> Sheet:
    """The only sheet of a list: what `DataLoader` hands over, without stacking."""
    return sheets[0]


def _loader(sheets: Sheets, workers: int) -> DataLoader[Sheet]:
    return DataLoader(
        sheets,
        batch_size=1,
        collate_fn=_only,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_alone,
        # A forked process cannot use its parent's GPU.
        multiprocessing_context="spawn" if workers and sheets.device != "cpu" else None,
    )


def _alone(_: int) -> None:
    """There is a process for each core already."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


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

    def add(self, sheet: Sheet) -> None:
        """Appends rendered designs."""
        place = slice(self.count, self.count + len(sheet.pictures))
        for name in ("pictures", "tile", "edge", "tokens"):
            getattr(self, name)[place] = getattr(sheet, name).to(self.device, non_blocking=True)
        self.names += sheet.names
        self.count = place.stop
        with self._lock:
            self._catch_up()

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
            self.latents[part] = self._encode(pictures).half().view_as(self.latents[part])
            self._encoded = part.stop

    @property
    def ready(self) -> int:
        """Designs with latents."""
        return self._encoded

    def grow(self, drafts: Drafts, workers: int, report: Callable[[int], object] | None = None) -> None:
        """Fills the pool.

        Args:
            drafts: What to render.
            workers: Processes that draft and render; 0 does it here.
            report: Told how many designs are ready.
        """
        self._take(iter(_loader(Sheets(drafts, self.device), workers)), report)

    def grow_aside(self, drafts: Drafts, workers: int) -> threading.Thread:
        """`grow` in a thread; `failure` holds what went wrong."""
        # Worker processes start here: forking beside a thread that compiles or computes may lock up.
        sheets = iter(_loader(Sheets(drafts, self.device), workers))

        def work() -> None:
            try:
                self._take(sheets, None)
            except BaseException as error:
                self.failure = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _take(self, sheets: Iterator[Sheet], report: Callable[[int], object] | None) -> None:
        for sheet in sheets:
            self.add(sheet)
            if report:
                report(self.count)
            if self.count >= self.capacity:
                return

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

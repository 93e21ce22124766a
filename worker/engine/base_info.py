"""What a base's folder says about itself. Read without torch: the pair builders only want the resolution."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

PAPER_STYLE_BLOCKS = (
    "down_blocks.1.attentions.1",
    "down_blocks.2.attentions.0",
    "up_blocks.0.attentions.1",
    "up_blocks.0.attentions.2",
)
"""theta_e on UNets of SDXL's topology (section 4.1 of arXiv 2509.18948)."""

INFO_FILE = "hoop.json"


class BaseError(Exception):
    """A base folder that cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True)
class FewStepsInfo:
    """What ``hoop.json`` says about a base's speed-up LoRA.

    Attributes:
        file: in the base's folder ``few_steps``.
        sampler, steps, guidance: what it was distilled for.
    """

    file: str
    sampler: str = "lcm"
    steps: int = 4
    guidance: float = 1.0


@dataclass(frozen=True)
class BaseInfo:
    """What ``hoop.json`` says about a base.

    Attributes:
        name, version, licence: for the manifest of every adapter trained on the base.
        resolution: pixels of the longest side it was trained for.
        style_blocks: the blocks that carry style, names as in :func:`worker.engine.routing.attention_blocks`.
        style_word: stands for [emb] in prompts: "a fox in <style_word> style".
        tile_kernel: Gaussian kernel of the tile map in pixels at 1024 px; scaled to the image's size.
        edge_thresholds: Canny's low and high threshold on 8-bit images.
        split_prompts: trained with style words in the style blocks only, so inference must route them the same way.
        crop_conditioning: trained with the true crop in its time ids; otherwise they always say "whole image".
        draws_words: knows things by their words; otherwise a brief is given a drawing first, see
            :mod:`worker.engine.briefs`.
        few_steps: its speed-up, see :mod:`worker.engine.few_steps`; not every base has one.
    """

    name: str
    version: str = "1"
    licence: str = "Apache-2.0"
    resolution: int = 1024
    style_blocks: tuple[str, ...] = PAPER_STYLE_BLOCKS
    style_word: str = "[emb]"
    tile_kernel: int = 15
    edge_thresholds: tuple[int, int] = (50, 100)
    split_prompts: bool = False
    crop_conditioning: bool = False
    draws_words: bool = True
    few_steps: FewStepsInfo | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> BaseInfo:
        """Raises :class:`BaseError` when the file is missing or not ours; fields it does not know go to ``notes``."""
        path = folder / INFO_FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known = {item.name for item in fields(cls)}
            values = {key: value for key, value in found.items() if key in known}
            values["notes"] = {**found.get("notes", {}), **{k: v for k, v in found.items() if k not in known}}
            for key in ("style_blocks", "edge_thresholds"):
                if key in values:
                    values[key] = tuple(values[key])
            if values.get("few_steps") is not None:
                values["few_steps"] = FewStepsInfo(**values["few_steps"])
            return cls(**values)
        except FileNotFoundError:
            raise BaseError(f"{folder} is no base model: it has no {INFO_FILE}") from None
        except (ValueError, TypeError) as error:
            raise BaseError(f"{path} cannot be read: {error}") from error

    def style_prompt(self, content: str) -> str:
        """``content`` "in [emb] style": c_emb of the paper for a content prompt; "" gives the style alone."""
        return f"{content} in {self.style_word} style".strip()

    def tile_kernel_at(self, side: int) -> float:
        """The kernel, as :func:`worker.engine.control_maps.tile_map` counts, for a picture of ``side`` pixels.

        It blurs by as many pixels as the base's own kernel blurs a picture of the base's resolution, whatever the side:
        to a convolutional network a larger picture is more picture, not a coarser one.
        """
        sigma = (0.3 * ((self.tile_kernel - 1) * 0.5 - 1) + 0.8) * self.resolution / side
        return ((sigma - 0.8) / 0.3 + 1) * 2 + 1

    def write(self, folder: Path) -> None:
        """Writes the file into a base's folder."""
        (folder / INFO_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

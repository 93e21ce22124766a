"""Names of the layers in a UNet's attention blocks, as the LoRA files of other programs spell them.

Ours and diffusers' is a layer's path: ``down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q``. kohya-ss, and
with it A1111 and ComfyUI, puts underscores for dots and names blocks by SDXL's original layout, or, more rarely, by
diffusers'. The original numbers all blocks of a side in one row, three a level (two ResNets and the downsampler, or
three ResNets), after the first convolution:

====================================  ==============================
diffusers                             original
====================================  ==============================
``down_blocks.i.attentions.j``        ``input_blocks.(3i + j + 1).1``
``mid_block.attentions.0``            ``middle_block.1``
``up_blocks.i.attentions.j``          ``output_blocks.(3i + j).1``
====================================  ==============================

That holds for every UNet of SDXL's topology (``layers_per_block`` 2), hoop-mini's too.
"""

from __future__ import annotations

import re
from typing import Final

KOHYA_PREFIX: Final = "lora_unet_"

_PER_LEVEL: Final = 3
_DOWN_LAYERS, _UP_LAYERS = 2, 3

_BLOCK = r"(?:(?P<side>down|up)_blocks_(?P<level>\d+)|mid_block)_attentions_(?P<index>\d+)"
_ORIGINAL_BLOCK = r"(?:(?P<put>input|output)_blocks_(?P<number>\d+)|middle_block)_1"
_LAYER = (
    r"(?:(?P<outer>proj_in|proj_out)"
    r"|transformer_blocks_(?P<depth>\d+)_(?:(?P<attention>attn[12])_(?P<projection>to_q|to_k|to_v|to_out)(?:_0)?"
    r"|ff_net_(?P<feed>0_proj|2)))"
)
_DIFFUSERS = re.compile(f"{_BLOCK}_{_LAYER}")
_ORIGINAL = re.compile(f"{_ORIGINAL_BLOCK}_{_LAYER}")
_PATH = re.compile(r"(?:(?P<side>down|up)_blocks\.(?P<level>\d+)|mid_block)\.attentions\.(?P<index>\d+)\.(?P<rest>.+)")
_DOTTED_PREFIX = re.compile(r"^(?:base_model\.model\.)?(?:unet\.|diffusion_model\.)?")


def to_kohya(layer: str, *, original: bool = True) -> str:
    """Kohya's name of a layer, by SDXL's original layout or by diffusers'.

    Raises:
        ValueError: it is no layer of an attention block, or of one that SDXL's layout has no number for.
    """
    found = _PATH.fullmatch(layer)
    if found is None:
        raise ValueError(f"{layer} is no layer of an attention block")
    if not original:
        return KOHYA_PREFIX + layer.replace(".", "_")
    side, level, index = found["side"], int(found["level"] or 0), int(found["index"])
    if index >= {"down": _DOWN_LAYERS, "up": _UP_LAYERS, None: 1}[side]:
        raise ValueError(f"SDXL's original layout has no block for {layer}")
    if side is None:
        block = "middle_block_1"
    elif side == "down":
        block = f"input_blocks_{_PER_LEVEL * level + index + 1}_1"
    else:
        block = f"output_blocks_{_PER_LEVEL * level + index}_1"
    return f"{KOHYA_PREFIX}{block}_{found['rest'].replace('.', '_')}"


def from_kohya(name: str) -> str | None:
    """The layer of kohya's name, in either of its layouts; ``None`` for one outside of attention blocks."""
    return _layer_of(name.removeprefix(KOHYA_PREFIX)) if name.startswith(KOHYA_PREFIX) else None


def from_dotted(name: str) -> str | None:
    """The layer of a path with or without a prefix, or ``None``.

    Prefixes are ``unet.``, ``diffusion_model.`` and ``base_model.model.``; the path may be by the original layout, and
    the layer may be named under its attention's ``processor``, as older diffusers did.
    """
    return _layer_of(_DOTTED_PREFIX.sub("", name).replace(".processor.", ".").replace(".", "_"))


def is_original(name: str) -> bool:
    """Whether a name is by SDXL's original layout."""
    return re.search(r"(?:input|output)_blocks[._]|middle_block[._]", name) is not None


def block_of(layer: str) -> str:
    """The attention block of a layer: ``down_blocks.1.attentions.1``.

    Raises:
        ValueError: it is no layer of an attention block.
    """
    found = _PATH.fullmatch(layer)
    if found is None:
        raise ValueError(f"{layer} is no layer of an attention block")
    return layer.removesuffix(f".{found['rest']}")


def _layer_of(flat: str) -> str | None:
    """Path of a name whose dots are underscores."""
    found = _DIFFUSERS.fullmatch(flat)
    if found is not None:
        level = f"{found['side']}_blocks.{found['level']}" if found["side"] else "mid_block"
        return f"{level}.attentions.{found['index']}.{_rest(found)}"
    found = _ORIGINAL.fullmatch(flat)
    if found is None:
        return None
    if found["put"] is None:
        return f"mid_block.attentions.0.{_rest(found)}"
    number = int(found["number"]) - (found["put"] == "input")
    level_number, index = divmod(number, _PER_LEVEL)
    side, layers = ("down", _DOWN_LAYERS) if found["put"] == "input" else ("up", _UP_LAYERS)
    if number < 0 or index >= layers:
        return None
    return f"{side}_blocks.{level_number}.attentions.{index}.{_rest(found)}"


def _rest(found: re.Match[str]) -> str:
    """Path of a layer inside its attention block."""
    if found["outer"]:
        return found["outer"]
    inside = f"transformer_blocks.{found['depth']}."
    if found["feed"]:
        return f"{inside}ff.net.{found['feed'].replace('_', '.')}"
    projection = found["projection"]
    return f"{inside}{found['attention']}.{projection}{'.0' if projection == 'to_out' else ''}"

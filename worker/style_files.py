"""Styles from and to the files of other programs: what `hoop style import` and `hoop style export` do."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backend.core.config import Settings
from backend.core.errors import InvalidInput
from backend.jobs.problems import BaseUnavailable, CannotBeUsed
from worker.offline import ADAPTER, read_style
from worker.runtime import Runtime

if TYPE_CHECKING:
    from worker.engine.interchange import Layout
    from worker.engine.notices import Notice

ALL: Final = "all"
_PEFT_CONFIG: Final = "adapter_config.json"
_PEFT_FILE: Final = "adapter_model.safetensors"
_LARGEST: Final = 4 << 30
"""Bytes: a LoRA of rank 128 on all of SDXL has a quarter of that, and a whole model more."""


def import_style(
    settings: Settings,
    file: Path,
    folder: Path,
    *,
    base: str,
    blocks: str = "",
    style_word: str = "",
    name: str = "",
) -> "list[Notice]":
    """Make a style folder of a LoRA file; returns what its owner should know.

    Args:
        settings: say where bases lie.
        file: the LoRA, safetensors.
        folder: of the style.
        base: name of the base model.
        blocks: to keep: "all", or names with commas. When empty the base's style blocks; a file that Hoop wrote is
            kept as it is.
        style_word: it listens to; when empty the file's own, or the base's.
        name: of the style, for people.

    Raises:
        HoopError: the file cannot be used, or the base is missing.
    """
    from worker.engine.base_info import BaseError, BaseInfo  # noqa: PLC0415
    from worker.engine.interchange import for_base, outline, read_lora  # noqa: PLC0415

    asked = {"style_word": style_word.strip(), "name": name.strip()}
    home = Runtime(settings).folder(base)
    try:
        info, unet = BaseInfo.read(home), outline(home)
    except (BaseError, ValueError) as error:
        raise BaseUnavailable(f"The base model “{base}” is not on this computer, or it is damaged: {error}.") from error
    if file.stat().st_size > _LARGEST:
        raise CannotBeUsed(f"{file} is too large for a LoRA; it may be a whole model.")
    data = file.read_bytes()
    try:
        imported = read_lora(data, _peft_config(file))
        named = _named(blocks, unet)
        if named or not (blocks == ALL or imported.values):
            imported = imported.only(named or info.style_blocks)
        source = {"file": file.name, "sha256": hashlib.sha256(data).hexdigest()}
        adapter = for_base(imported, info, unet, source, **{key: value for key, value in asked.items() if value})
    except ValueError as error:
        raise CannotBeUsed(f"{file}: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ADAPTER).write_bytes(adapter.to_bytes())
    notices = imported.notices
    report = {"manifest": adapter.manifest, "warnings": [notice.as_dict() for notice in notices]}
    (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return notices


def export_style(
    style: Path, out: Path | None, *, layout: "Layout", swatch: bool = True
) -> "tuple[Path, list[Notice]]":
    """Write a style as a file that other programs load; returns its path and what its owner should know.

    Args:
        style: its folder or file.
        out: the file; beside the style when left out.
        layout: whose names to use.
        swatch: keep the sample's stitches in it.

    Raises:
        HoopError: there is no style, or it cannot be written so.
    """
    from worker.engine.interchange import is_sdxl, write_lora  # noqa: PLC0415
    from worker.engine.notices import Notice  # noqa: PLC0415

    adapter = read_style(style)
    place = style.resolve()
    written = out or place.parent / f"{place.stem}.{layout}.safetensors"
    own = place / ADAPTER if place.is_dir() else place
    if written.resolve() == own:
        raise InvalidInput(f"{written} is the style itself; give another name with --out.")
    try:
        data = write_lora(adapter, layout, title=adapter.manifest.get("name") or place.stem, swatch=swatch)
    except ValueError as error:
        raise CannotBeUsed(f"{style}: {error}") from error
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_bytes(data)
    if is_sdxl(adapter):
        return written, []
    base = adapter.manifest.get("base", {}).get("name", "another model")
    message = (
        f"This style was learnt on {base}, which is not SDXL: other programs can use the file with {base} only, not "
        "with SDXL."
    )
    return written, [Notice("not_sdxl", message)]


def _named(blocks: str, unet: Any) -> tuple[str, ...]:
    """Blocks that were asked for by name.

    Raises:
        InvalidInput: the base has no such block.
    """
    from worker.engine.routing import attention_blocks  # noqa: PLC0415

    known = tuple(attention_blocks(unet))
    if blocks == ALL:
        return ()
    named = tuple(block.strip() for block in blocks.split(",") if block.strip())
    unknown = [block for block in named if block not in known]
    if unknown:
        raise InvalidInput(f"This base has no block {', '.join(unknown)}. It has {', '.join(known)}.")
    return named


def _peft_config(file: Path) -> dict[str, Any] | None:
    """What peft wrote beside its file about the LoRA's strength."""
    path = file.with_name(_PEFT_CONFIG)
    if file.name != _PEFT_FILE or not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path.name} beside it cannot be read: {error}") from error

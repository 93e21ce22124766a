"""How long a style and a preview take, and what swapping and batching styles saves (`make bench-render`).

Runs on the bundled base; `--base DIR`, a folder of SDXL's topology, is measured too where there is a GPU. Figures are
the best of a few runs, for other programs only ever add to them; nothing here is held to them.
"""

import argparse
import gc
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import psutil
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import nn

from backend.core.config import Settings
from worker.engine.adapter import Adapter
from worker.engine.base_info import PAPER_STYLE_BLOCKS
from worker.engine.bases import Base, fast_dtype, load_base
from worker.engine.config import RenderConfig, render_config, train_config
from worker.engine.few_steps import few_steps_of
from worker.engine.infer import GarmentPlacement, Renderer, RenderRequest
from worker.engine.routing import attention_blocks
from worker.engine.swap import Layers, WeightSwap
from worker.engine.train import PairInput, train_style
from worker.runtime import Runtime

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "backend" / "demo"
STYLES = ("chenille-patch", "cross-stitch", "satin-emblem", "tatami-fill")
TRAINING = ("prepare", "pair", "stage_one", "complement", "stage_two", "samples")
RENDER = {
    "prepare": ("worker.engine.render_work.prepare_design",),
    "lay": ("worker.engine.render_work.lay", "worker.engine.render_work.lay_finely"),
    "diffuse": ("worker.engine.drawing.denoise",),
    "decode": ("worker.engine.bases.Base.decode_latents",),
    "place": ("worker.engine.infer.place_patch",),
}
# SDXL's four style blocks: width, transformer layers, how many such blocks.
SDXL_BLOCKS = ((640, 2, 1), (1280, 10, 3))
TEXT = 2048
RANK = 32


class Stopwatch:
    """Seconds by stage, each without those of the stages inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[float] = []

    def timed(self, stage: str, function: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **named: object) -> object:
            begin = clock()
            self._open.append(0.0)
            try:
                return function(*args, **named)
            finally:
                took = clock() - begin
                self.seconds[stage] += took - self._open.pop()
                if self._open:
                    self._open[-1] += took

        return run

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as patches:
            for stage, names in RENDER.items():
                for name in names:
                    module, _, attribute = name.rpartition(".")
                    owner = __import__(module.removesuffix(".Base"), fromlist=["_"])
                    owner = owner.Base if module.endswith(".Base") else owner
                    patches.enter_context(patch.object(owner, attribute, self.timed(stage, getattr(owner, attribute))))
            yield


def clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(function: Callable[[], object]) -> float:
    begin = clock()
    function()
    return clock() - begin


def styles() -> list[Adapter]:
    return [Adapter.from_bytes((DEMO / name / "adapter.safetensors").read_bytes()) for name in STYLES]


def designs() -> list[Image.Image]:
    return [Image.open(DEMO / name / "design.png").convert("RGB") for name in STYLES]


def random_style(shapes: dict[str, tuple[int, int]], seed: int, dtype: torch.dtype) -> Layers:
    source = torch.Generator().manual_seed(seed)
    return {
        name: (
            torch.randn(RANK, inner, generator=source).to(dtype) * 0.01,
            torch.randn(outer, RANK, generator=source).to(dtype) * 0.01,
        )
        for name, (outer, inner) in shapes.items()
    }


def to_style(base: Base, report: Console, bars: Progress) -> float:
    """From a photo to a ready style, by the report's own stages."""
    bar = bars.add_task("photo to style", total=None)
    photo = Image.open(DEMO / "satin-emblem" / "reference.jpg").convert("RGB")
    style = train_style(base, PairInput(photo), train_config("short"))
    bars.remove_task(bar)
    spent = style.report["seconds"]
    table = Table("from photo to style, preset short", "seconds")
    for stage in TRAINING:
        table.add_row(stage.replace("_", " "), f"{spent.get(stage, 0.0):.2f}")
    total = sum(spent.values())
    table.add_row("all", f"{total:.2f}", style="bold")
    report.print(table)
    return total


def to_preview(base: Base, report: Console, bars: Progress, runs: int = 3) -> None:
    """From a design to a preview on a garment."""
    bar = bars.add_task("design to preview", total=2 * (runs + 1))
    garment = Image.new("RGB", (1200, 1500), (70, 90, 130))
    corners = ((400, 450), (800, 450), (800, 850), (400, 850))
    style, design = styles()[2], designs()[0]
    columns: dict[str, dict[str, float]] = {}
    for quality in ("draft", "final"):
        config = render_config("flat", small=base.info.split_prompts, quality=quality)
        request = RenderRequest(design=design, config=config, garment=GarmentPlacement(garment, corners))
        found = []
        for number in range(runs + 1):
            watch = Stopwatch()
            with watch.watching():
                took = seconds(lambda request=request: Renderer(base).render(style, replace(request, seed=1)))
            if number:  # the first one warms up
                found.append({**watch.seconds, "rest": took - sum(watch.seconds.values()), "all": took})
            bars.advance(bar)
        columns[quality] = min(found, key=lambda one: one["all"])
    bars.remove_task(bar)
    table = Table("from design to preview", "draft, s", "final, s")
    for stage in [*RENDER, "rest", "all"]:
        values = [f"{columns[quality].get(stage, 0.0):.3f}" for quality in ("draft", "final")]
        table.add_row(stage, *values, style="bold" if stage == "all" else "")
    report.print(table)


class StyleBlocks(nn.Module):
    """The attention's linear layers of SDXL's four style blocks, with no values that mean anything."""

    def __init__(self, dtype: torch.dtype, device: str) -> None:
        super().__init__()
        self.shapes: dict[str, tuple[int, int]] = {}
        for width, depth, count in SDXL_BLOCKS:
            for layer in range(depth * count):
                for which in ("attn1", "attn2"):
                    for target in ("to_q", "to_k", "to_v", "to_out"):
                        reads_text = which == "attn2" and target in ("to_k", "to_v")
                        self.shapes[f"{which}_{target}_{width}_{layer}"] = width, TEXT if reads_text else width
        for name, (outer, inner) in self.shapes.items():
            linear = nn.Linear(inner, outer, bias=False, device="meta", dtype=dtype).to_empty(device=device)
            linear.requires_grad_(False).weight.fill_(0.01)
            self.add_module(name, linear)


def swap_milliseconds(unet: nn.Module, some: list[Layers], runs: int = 9) -> float:
    """Least time to go from one style that has been used before to another."""
    swap = WeightSwap(unet)
    for layers in some:
        swap.put((layers, 1.0))
    times = []
    for number in range(runs):
        layers = some[number % len(some)]
        times.append(1000 * seconds(lambda layers=layers: swap.put((layers, 1.0))))
    swap.release()
    return min(times)


def swaps(base: Base, report: Console, bars: Progress) -> float:
    """Adapter swap time here, and at SDXL's sizes; returns the latter in the precision that bases have here."""
    table = Table("adapter swap", "weights, M", "ms")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precisions = [("bf16", torch.bfloat16), ("fp32", torch.float32)]
    bar = bars.add_task("swap", total=1 + len(precisions))
    small = [adapter.layers for adapter in styles()]
    count = sum(base.unet.get_submodule(name).weight.numel() for name in small[0])
    table.add_row(
        f"{base.info.name}, {base.unet.dtype}, {base.device}",
        f"{count / 1e6:.1f}",
        f"{swap_milliseconds(base.unet, small):.2f}",
    )
    bars.advance(bar)
    found = {}
    for name, dtype in precisions:
        blocks = StyleBlocks(dtype, device)
        count = sum(outer * inner for outer, inner in blocks.shapes.values())
        found[name] = swap_milliseconds(blocks, [random_style(blocks.shapes, seed, dtype) for seed in (1, 2)])
        table.add_row(f"SDXL's style blocks, rank {RANK}, {name}, {device}", f"{count / 1e6:.1f}", f"{found[name]:.1f}")
        del blocks
        gc.collect()
        bars.advance(bar)
    bars.remove_task(bar)
    report.print(table)
    return found["bf16"]


def batches(
    base: Base, report: Console, bars: Progress, config: RenderConfig, adapters: list[Adapter], runs: int
) -> float:
    """Images a second of four designs in four styles; returns how much faster a batch of 4 is than one by one."""
    pictures = designs()
    requests = [
        (adapter, RenderRequest(design=pictures[index % len(pictures)], config=config, seed=index))
        for index, adapter in enumerate(adapters)
    ]
    renderer = Renderer(base)

    def one_by_one() -> None:
        for adapter, request in requests:
            renderer.render(adapter, request)

    ways: dict[str, Callable[[], object]] = {"one after the other": one_by_one} | {
        f"batches of {size}": lambda size=size: renderer.render_many(requests, batch=size) for size in (1, 2, 4)
    }
    bar = bars.add_task("batches", total=len(ways) * (runs + 1))
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    base.swap.keeps = True
    for number in range(runs + 1):
        for name, way in ways.items():  # in turns: what else the machine does meets all of them
            watch = Stopwatch()
            with watch.watching():
                took = seconds(way)
            if number:
                found[name].append((took, watch.seconds["diffuse"]))
            bars.advance(bar)
    base.swap.keeps = False
    base.swap.release()
    bars.remove_task(bar)
    table = Table(
        f"{len(requests)} designs, each in its own style", "images/s", "ratio", "diffusing alone, images/s", "ratio"
    )
    best = {name: [min(column) for column in zip(*times, strict=True)] for name, times in found.items()}
    first = best["one after the other"]
    for name, values in best.items():
        cells = []
        for value, alone in zip(values, first, strict=True):
            cells += [f"{len(requests) / value:.2f}", f"{alone / value:.2f}"]
        table.add_row(name, *cells)
    report.print(table)
    return first[0] / best["batches of 4"][0]


def memory(report: Console, bars: Progress) -> None:
    """Resident memory with so many styles used by one worker."""
    data = [(DEMO / name / "adapter.safetensors").read_bytes() for name in STYLES]
    process, table = psutil.Process(), Table("styles used", "kept", "resident, MiB")
    bar = bars.add_task("memory", total=200)
    with TemporaryDirectory(prefix="hoop-bench-") as folder:
        runtime = Runtime(Settings(data_dir=Path(folder)))
        for number in range(200):
            runtime.adapter(f"style-{number}", lambda number=number: data[number % len(data)])
            bars.advance(bar)
            if number + 1 in (1, 10, 200):
                gc.collect()
                table.add_row(str(number + 1), str(len(runtime._adapters)), f"{process.memory_info().rss / 2**20:.0f}")
    bars.remove_task(bar)
    report.print(table)


def large(folder: Path, report: Console, bars: Progress) -> None:
    """A base of SDXL's size on a GPU."""
    base = load_base(folder, "cuda", torch.bfloat16)
    inside = {name: module for name, module in base.unet.named_modules() if isinstance(module, nn.Linear)}
    shapes = {
        name: tuple(module.weight.shape)
        for name, module in inside.items()
        if ".attn" in name and name.startswith(tuple(f"{block}." for block in base.info.style_blocks))
    }

    def style(seed: int) -> Adapter:
        layers = random_style(shapes, seed, torch.bfloat16)
        tensors = {
            f"unet.{name}.lora_{side}.weight": half
            for name, both in layers.items()
            for side, half in zip("AB", both, strict=True)
        }
        manifest = {"style_blocks": [block for block in attention_blocks(base.unet) if block in PAPER_STYLE_BLOCKS]}
        return Adapter(tensors, manifest | {"draft": {"allowed": True}})

    adapters = [style(seed) for seed in range(4)]
    config = replace(render_config("flat", small=False, steps=30), few_steps=False)
    free = replace(config, control_edge=0.0, control_tile=0.0)
    ways = {"30 steps": free, "30 steps, two ControlNets": config}
    if few_steps_of(base) is not None:
        ways |= {
            "few steps": replace(free, few_steps=True),
            "few steps, two ControlNets": replace(config, few_steps=True),
        }
    table = Table(f"{base.info.name}, {base.info.resolution} px, {torch.cuda.get_device_name()}", "seconds")
    base.swap.keeps = True
    for name, numbers in ways.items():
        request = RenderRequest(design=designs()[0], config=numbers)
        times = [seconds(lambda request=request: Renderer(base).render(adapters[0], request)) for _ in range(3)]
        table.add_row(name, f"{min(times[1:]):.2f}")
    report.print(table)
    batches(base, report, bars, free, adapters, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="folder of a base of SDXL's topology, measured on a GPU")
    parser.add_argument("--runs", type=int, default=3, help="of each measurement, after one that warms up")
    parser.add_argument("--no-training", action="store_true", help="leave the training out, which takes longest")
    given = parser.parse_args()
    report = Console(width=110 if not sys.stdout.isatty() else None)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    report.print(
        f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads, torch {torch.__version__}, {device}, products in {fast_dtype(device) or torch.float32}"
    )
    base = load_base(Settings().base_dir, device)
    with Progress(console=Console(stderr=True), transient=True) as bars:
        if not given.no_training:
            to_style(base, report, bars)
        to_preview(base, report, bars, given.runs)
        config = render_config("flat", small=base.info.split_prompts)
        ratio = batches(base, report, bars, config, styles(), given.runs)
        memory(report, bars)
        swap = swaps(base, report, bars)
        if given.base is not None and device == "cuda":
            large(given.base, report, bars)
        elif given.base is not None:
            report.print(f"{given.base} is left out: there is no GPU.")
    print(f"swap {swap:.0f} ms, batch of 4: {ratio:.2f} times one by one")


if __name__ == "__main__":
    main()

"""How much faster a training is than a straightforward loop with the same mathematics (`make bench-train`).

Both train the preset "paper" on the bundled base: one shared AdamW, rank 32, one timestep a step, whole pictures, no
control; the same pairs, seeds, noise and timesteps. The straightforward loop does in every iteration what the method's
public code does: it encodes pictures and prompts anew, predicts one picture at a time, switches the adapter by walking
all modules, computes gradients of the whole LoRA and drops those it does not need, and collects garbage.
"""

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from worker.engine.adapter import TrainingLora, training_lora
from worker.engine.bases import Base, Prompts, embed_prompts, image_to_tensor, load_base
from worker.engine.config import train_config
from worker.engine.heap import kept_heap
from worker.engine.loop import training_pair
from worker.engine.seeds import generator
from worker.engine.stage_one import Updates, draw_batch, modulation_steps
from worker.engine.stage_two import contrastive_loss, contrastive_step
from worker.engine.training_unet import TrainingUNet

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "worker" / "weights" / "hoop-mini"
CONFIG = train_config("paper")
ITERATIONS = {"one": 12, "two": 6}  # in the paper's proportion, 400 to 200
ROUNDS = 2  # the loops take turns, so that what else the machine does meets all of them
PARTS = ("encode", "text", "step 1", "step 2", "step 3", "optimiser", "rest")
# Name, caption and weight of the reference and of what stands for the generated pair.
PAIRS = (("satin-emblem", "a badge", 1.0), ("tatami-fill", "a leaf", CONFIG.generated_weight))
# In float32 both loops differ by the order of their sums. In bfloat16 a value has eight bits, and the contrastive loss
# compares changes that a new LoRA has hardly made yet: they are rounding, in either loop, and are not held to anything.
TOLERANCE = {
    "float32": {"design": 1e-4, "embroidery": 1e-4, "contrast": 1e-2},
    "bfloat16": {"design": 1e-2, "embroidery": 1e-2},
}


class Stopwatch:
    """Seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._part, self._since = "rest", time.perf_counter()

    def now(self, part: str) -> str:
        """What follows counts for this part; returns the one that ends."""
        before, now = self._part, time.perf_counter()
        self.seconds[before] += now - self._since
        self._part, self._since = part, now
        return before

    def begin(self) -> None:
        """Leaves out what was since the last part ended."""
        self._since = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        before = self.now(name)
        try:
            yield
        finally:
            self.now(before)


def pictures(name: str, size: int) -> list[Image.Image]:
    """Embroidery and design of a style that comes with Hoop."""
    files = (ROOT / "backend" / "demo" / name / f"{which}.png" for which in ("embroidery", "design"))
    return [Image.open(file).convert("RGB").resize((size, size), Image.Resampling.LANCZOS) for file in files]


class PlainLoop:
    """Everything where it is needed, one thing at a time."""

    def __init__(self, base: Base, lora: TrainingLora, watch: Stopwatch) -> None:
        self.base, self.lora, self.watch = base, lora, watch
        self.outside = [parameter for name, parameter in lora.parameters.items() if name not in set(lora.style)]
        self.optimiser = torch.optim.AdamW(
            lora.parameters.values(), CONFIG.learning_rate, CONFIG.betas, CONFIG.epsilon, CONFIG.weight_decay
        )
        self.tensors = [
            [image_to_tensor([one]) for one in pictures(name, base.info.resolution)] for name, _, _ in PAIRS
        ]
        self.time_ids = base.time_ids(base.info.resolution)

    def _predict(self, noisy: Tensor, timestep: Tensor, content: Prompts, style: Tensor | None) -> Tensor:
        base = self.base
        with base.precision(), base.routing.style_prompt(style):
            out: Tensor = base.unet(
                noisy,
                timestep,
                encoder_hidden_states=content.hidden,
                added_cond_kwargs={"text_embeds": content.pooled, "time_ids": self.time_ids},
                return_dict=False,
            )[0]
        return out.float()

    def _move(self, loss: Tensor, *, style_only: bool) -> float:
        loss.backward()
        with self.watch.part("optimiser"):
            for parameter in self.outside if style_only else ():
                parameter.grad = None
            self.optimiser.step()
            self.optimiser.zero_grad()
        return float(loss.detach())

    def iteration(self, noises: list[Tensor], timesteps: list[Tensor]) -> dict[str, float]:
        base, watch, count = self.base, self.watch, len(noises)
        with watch.part("encode"):
            clean = [[base.encode_images(one) for one in self.tensors[item]] for item in range(count)]
        with watch.part("text"), torch.no_grad():
            encoders = (base.tokenizers, base.text_encoders)
            contents = [embed_prompts(*encoders, [caption]) for _, caption, _ in PAIRS[:count]]
            styles = [embed_prompts(*encoders, [base.info.style_prompt(c)]).hidden for _, c, _ in PAIRS[:count]]
        noisy = [
            [base.scheduler.add_noise(one, noise, t) for one in both]
            for both, noise, t in zip(clean, noises, timesteps, strict=True)
        ]
        losses = {}
        for which, kind, part in ((1, "design", "step 1"), (0, "embroidery", "step 2")):
            with watch.part(part):
                total = torch.zeros(())
                for item in range(count):
                    t, style = timesteps[item], styles[item] if kind == "embroidery" else None
                    target = base.scheduler.get_velocity(clean[item][which], noises[item], t)
                    out = self._predict(noisy[item][which], t, contents[item], style)
                    total = total + PAIRS[item][2] * (out - target).square().mean()
                losses[kind] = self._move(total, style_only=kind == "embroidery")
        if count > 1:
            with watch.part("step 3"):
                losses["contrast"] = self._contrast([one for _, one in noisy], timesteps, contents, styles)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return losses

    def _contrast(
        self, designs: list[Tensor], timesteps: list[Tensor], contents: list[Prompts], styles: list[Tensor]
    ) -> float:
        content_changes, style_changes = [], []
        for *seen, style in zip(designs, timesteps, contents, styles, strict=True):
            with torch.no_grad():
                adapted = self._predict(*seen, None)
                self.base.unet.disable_adapters()
                content, plain = self._predict(*seen, None), self._predict(*seen, style)
                self.base.unet.enable_adapters()
            content_changes.append(adapted - content)
            style_changes.append(self._predict(*seen, style) - plain - content_changes[-1])
        loss = contrastive_loss(*style_changes, *content_changes)
        return self._move(CONFIG.contrastive_weight * loss, style_only=True) / CONFIG.contrastive_weight


class WatchedUpdates(Updates):
    """Says when a step is over and how long its optimiser took."""

    def __init__(self, lora: TrainingLora, watch: Stopwatch) -> None:
        super().__init__(lora, CONFIG)
        self.watch = watch

    def step(self, kind: str, loss: Tensor) -> float:
        value = super().step(kind, loss)
        self.watch.now({"design": "step 2", "embroidery": "step 3", "contrast": "rest"}[kind])
        return value

    def apply(self, kind: str) -> None:
        with self.watch.part("optimiser"):
            super().apply(kind)


class OurLoop:
    """The steps of :class:`worker.engine.loop.Training`."""

    def __init__(self, base: Base, lora: TrainingLora, watch: Stopwatch) -> None:
        self.base, self.lora, self.watch = base, lora, watch
        self.unet, self.updates = TrainingUNet(base, lora), WatchedUpdates(lora, watch)
        self.pairs: list[Any] = []

    def iteration(self, stage: str, number: int) -> dict[str, float]:
        for name, caption, weight in PAIRS[len(self.pairs) : 1 + (stage == "two")]:  # once, when a stage begins
            with self.watch.part("encode"):
                pair = training_pair(self.base, *pictures(name, self.base.info.resolution), caption, CONFIG)
                self.pairs.append((pair, weight))
        batch = draw_batch(self.base, self.pairs, CONFIG, generator(CONFIG.seed, stage, number))
        self.watch.now("step 1")
        losses = modulation_steps(self.unet, self.updates, batch)
        if stage == "two":
            losses |= contrastive_step(self.unet, self.lora, self.updates, batch, CONFIG.contrastive_weight)
        self.watch.now("rest")
        return losses


def drawn(base: Base, pairs: list[Any], stage: str, number: int) -> tuple[list[Tensor], list[Tensor]]:
    """The noise and the timesteps of one of our iterations, item by item, for the straightforward loop."""
    batch = draw_batch(base, pairs[: 1 + (stage == "two")], CONFIG, generator(CONFIG.seed, stage, number))
    noisy, velocity = batch.designs
    alpha = base.scheduler.alphas_cumprod[batch.timesteps].view(-1, 1, 1, 1)
    return list(((1 - alpha).sqrt() * noisy + alpha.sqrt() * velocity).split(1)), list(batch.timesteps.split(1))


def resident(field: str) -> float:
    """A field of /proc/self/status in MiB: VmRSS is what is resident, VmHWM its peak since `forget_peak`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))
    except (OSError, StopIteration):
        return float("nan")


def tidy() -> float:
    """Gives free memory back and forgets its peak; returns what is resident, in MiB."""
    gc.collect()
    with kept_heap():
        pass
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


class Run:
    """One loop and what is measured of it: seconds by stage and part, losses by kind, memory in MiB."""

    def __init__(self, stack: ExitStack, *, ours: bool, autocast: torch.dtype | None) -> None:
        self.ours = ours
        self.base = base = load_base(BASE)
        base.autocast_dtype = autocast
        if not ours:
            base.unet.to(memory_format=torch.contiguous_format)
        size = base.info.resolution
        pairs = [(training_pair(base, *pictures(name, size), text, CONFIG), weight) for name, text, weight in PAIRS]
        self.draws = {
            (stage, number): drawn(base, pairs, stage, number)
            for stage, count in ITERATIONS.items()
            for number in range(count)
        }
        base._prompt_cache.clear()
        self.watch = Stopwatch()
        with training_lora(base.unet, base.info.style_blocks, CONFIG.rank, CONFIG.seed) as lora:  # to warm up
            self._make(lora)
            for stage in ITERATIONS:
                self._iteration(stage, 0)
        before = tidy()
        self.watch = Stopwatch()
        self.seconds: dict[str, dict[str, float]] = {}
        self.losses: dict[str, list[float]] = defaultdict(list)
        self.processor = 0.0
        began = time.process_time()
        self._make(stack.enter_context(training_lora(base.unet, base.info.style_blocks, CONFIG.rank, CONFIG.seed)))
        self.processor = time.process_time() - began
        self.watch.now("rest")
        self.kept, self.peak = tidy() - before, 0.0

    def _make(self, lora: TrainingLora) -> None:
        self.loop: Any = (OurLoop if self.ours else PlainLoop)(self.base, lora, self.watch)

    def _iteration(self, stage: str, number: int) -> dict[str, float]:
        return self.loop.iteration(stage, number) if self.ours else self.loop.iteration(*self.draws[stage, number])

    def turn(self, stage: str, numbers: range, advance: Callable[[], object]) -> None:
        """Some iterations of a stage."""
        before, began = tidy(), time.process_time()
        self.watch.begin()
        with kept_heap() if self.ours else nullcontext():
            for number in numbers:
                for kind, loss in self._iteration(stage, number).items():
                    self.losses[kind].append(loss)
                advance()
        self.watch.now("rest")
        self.processor += time.process_time() - began
        self.seconds[stage] = (
            dict(self.watch.seconds)
            if stage not in self.seconds
            else {part: self.seconds[stage].get(part, 0.0) + self.watch.seconds.get(part, 0.0) for part in PARTS}
        )
        self.watch.seconds.clear()
        self.peak = max(self.peak, resident("VmHWM") - before)

    def total(self, stage: str | None = None) -> float:
        return sum(sum(parts.values()) for name, parts in self.seconds.items() if stage in {None, name})


def differences(a: Run, b: Run) -> dict[str, float]:
    """By kind, the largest relative difference of a loss."""
    return {
        kind: max(abs(x - y) / abs(y) for x, y in zip(a.losses[kind], b.losses[kind], strict=True)) for kind in a.losses
    }


def show(console: Console, results: dict[tuple[str, str], Run], native: str) -> None:
    names = list(results)
    speed = Table("seconds an iteration", *(f"{loop}\n{precision}" for loop, precision in names), "ratio", title="")
    ours, plain = results["ours", native], results["straightforward", native]
    for stage, count in ITERATIONS.items():
        row = (f"{result.total(stage) / count:.3f}" for result in results.values())
        speed.add_row(f"stage {stage}", *row, f"{plain.total(stage) / ours.total(stage):.2f}")
    row = (f"{result.total():.1f}" for result in results.values())
    speed.add_row("both, seconds in all", *row, f"{plain.total() / ours.total():.2f}")
    row = (f"{result.processor:.1f}" for result in results.values())
    speed.add_row("the same, processor seconds", *row, f"{plain.processor / ours.processor:.2f}")
    speed.add_row("memory added at most, MiB", *(f"{result.kept + result.peak:.0f}" for result in results.values()), "")
    console.print(speed)
    where = Table("seconds in all", *(f"{loop}\n{precision}" for loop, precision in names))
    for part in PARTS:
        row = (sum(parts.get(part, 0.0) for parts in result.seconds.values()) for result in results.values())
        where.add_row(part, *(f"{value:.2f}" for value in row))
    console.print(where)


def main() -> None:
    console = Console(width=110)
    native = load_base(BASE).autocast_dtype
    precisions = {"float32": None} | ({} if native is None else {"bfloat16": native})
    results: dict[tuple[str, str], Run] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress, ExitStack() as stack:
        task = progress.add_task("warming up", total=2 * len(precisions) * (1 + sum(ITERATIONS.values())))
        for precision, autocast in precisions.items():
            for loop in ("straightforward", "ours"):
                results[loop, precision] = Run(stack, ours=loop == "ours", autocast=autocast)
                progress.advance(task)
        for stage, count in ITERATIONS.items():
            for begin in range(0, count, count // ROUNDS):
                for (loop, precision), run in results.items():
                    progress.update(task, description=f"stage {stage}, {loop}, {precision}")
                    run.turn(stage, range(begin, begin + count // ROUNDS), lambda: progress.advance(task))
    name = list(precisions)[-1]
    how = "native here, so a training uses it" if native else "for this machine has no native bfloat16"
    print(f"{torch.get_num_threads()} threads. Ratios are of both loops in {name} ({how}); bfloat16 is autocast.")
    show(console, results, name)
    wrong = []
    for precision, limits in TOLERANCE.items():
        if precision in precisions:
            found = differences(results["ours", precision], results["straightforward", precision])
            for kind, value in found.items():
                limit = limits.get(kind)
                print(
                    f"{precision}, loss {kind}: differs by at most {value:.1e}",
                    "" if limit is None else f"of {limit:.0e} allowed",
                )
                if limit is not None and not value <= limit:
                    wrong.append(f"{kind} in {precision}")
    ours = results["ours", name].total()
    if name != "float32":
        print(
            f"against the straightforward loop in float32: {results['straightforward', 'float32'].total() / ours:.2f}"
        )
    if wrong:
        raise SystemExit(f"The loops do not compute the same: {', '.join(wrong)}.")
    print(f"speed-up {results['straightforward', name].total() / ours:.2f}")


if __name__ == "__main__":
    main()

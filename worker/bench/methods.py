"""The methods that are compared: on the same base, from the same pair, with as many iterations and the same control.

Adapters are trained in four ways and each is drawn with in two: from the flat design, as the papers do (strength 0.8,
guidance 1.5), and from the design with the sample's stitches laid on it, as Hoop does (0.25, 1). So what the training
brings and what the laying brings can be told apart. What trains nothing walks 20 steps of DDIM up to the same strength.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from worker.atelier.evaluation.bench import Bench, quiet
from worker.atelier.evaluation.cases import Case, sewn_anew
from worker.bench.shared_attention import style_aligned, style_id
from worker.bench.suite import Reference
from worker.engine.adapter import Adapter, TrainingLora, training_lora
from worker.engine.colour import Picture
from worker.engine.config import TrainConfig
from worker.engine.loop import Material
from worker.engine.pairs import Pair, build_pair
from worker.engine.prepare import prepare_reference
from worker.engine.quilt import lay_stitches
from worker.engine.routing import attention_blocks
from worker.engine.seeds import generator
from worker.engine.stage_one import Batch, Updates, draw_batch, prediction_loss
from worker.engine.train import PairInput, style_at_a_glance, swatch_of

Drawer = Callable[[Case, int], Picture]
"""A design and a seed to a picture of the base's size."""
CONTENT_STYLE = ("up_blocks.0.attentions.0", "up_blocks.0.attentions.1")
"""The two blocks of B-LoRA on SDXL's topology: the first takes content, the second style."""


@dataclass(frozen=True)
class Method:
    """One line of the table.

    Attributes:
        title: its name there.
        group: ``ours``, ``trained``, ``free`` (nothing is trained), ``ablation`` or ``bound``.
        about: what it is, in one sentence.
        prepare: learns from a reference, with the steps of a training preset, and gives what draws.
    """

    title: str
    group: str
    about: str
    prepare: Callable[[Bench, Reference, str], Drawer]


# Trainings. Each gives an adapter; the bench keeps it on disk.


def _learnt(
    bench: Bench, reference: Reference, preset: str, name: str, train: Callable[[Reference, TrainConfig], Adapter]
) -> Adapter:
    config = quiet(preset)

    key = f"{reference.name}-{preset}-{name}"

    def made() -> bytes:
        begin = time.monotonic()
        file = train(reference, config).to_bytes()
        bench.kept(f"{key}.seconds", f"{time.monotonic() - begin:.1f}".encode)
        return file

    return Adapter.from_bytes(bench.kept(f"{key}.safetensors", made))


def _emolora(bench: Bench, reference: Reference, config: TrainConfig, pair: Pair | None = None) -> Adapter:
    pair = pair or reference.pair
    source = PairInput(pair.embroidery, caption=reference.teacher.name, pair=pair)
    return Adapter.from_bytes(bench.trained(f"{reference.name}: EmoLoRA", source, config).adapter)


def _fitted(
    bench: Bench,
    reference: Reference,
    config: TrainConfig,
    blocks: tuple[str, ...],
    keep: tuple[str, ...],
    step: Callable[[TrainingLora, Updates, Batch], object],
) -> Adapter:
    """A LoRA of which only the part in ``blocks`` moves, by ``step`` on batches as EmoLoRA's first stage has them."""
    base, pair = bench.base, reference.pair
    config = replace(config, optimiser="separate")
    material = Material.make(base, pair, reference.teacher.name, config)
    manifest = {"style_blocks": list(keep)}
    with base.style_blocks(blocks), training_lora(base.unet, blocks, config.rank, config.seed) as lora:
        updates = Updates(lora, config)
        with bench.showing(f"{reference.name}: LoRA") as bar:
            for number in range(config.total_steps):
                batch = draw_batch(base, [(material.training, 1.0)], config, generator(config.seed, "step", number))
                updates.set_rate(config.rate_at(number))
                step(lora, updates, batch)
                bar.update("steps", number + 1, config.total_steps)
        learnt = lora.style_adapter(manifest)
    prefixes = tuple(f"unet.{block}." for block in keep)
    kept = {name: tensor for name, tensor in learnt.tensors.items() if name.startswith(prefixes)}
    return Adapter(kept, manifest, swatch_of(pair))


def _on_embroidery(bench: Bench) -> Callable[[TrainingLora, Updates, Batch], object]:
    """A step on E alone."""
    return lambda _lora, updates, batch: updates.step(
        "embroidery", prediction_loss(bench.base, batch, of_embroidery=True)
    )


def _db_lora(bench: Bench, reference: Reference, config: TrainConfig) -> Adapter:
    every = tuple(attention_blocks(bench.base.unet))
    return _fitted(bench, reference, config, every, every, _on_embroidery(bench))


def _b_lora(bench: Bench, reference: Reference, config: TrainConfig) -> Adapter:
    return _fitted(bench, reference, config, CONTENT_STYLE, CONTENT_STYLE[1:], _on_embroidery(bench))


def _pair_customization(bench: Bench, reference: Reference, config: TrainConfig) -> Adapter:
    """Half of the rank is content's and learns D, half is style's and learns E on top; their rows stay orthogonal.

    A is fixed and orthonormal, B is learnt; E's loss does not reach the content half.
    """
    every = tuple(attention_blocks(bench.base.unet))
    halves: dict[str, int] = {}

    def prepare(lora: TrainingLora) -> None:
        source = generator(config.seed, "orthogonal")
        for name, parameter in lora.parameters.items():
            if name.endswith("lora_A.weight"):
                rows, width = parameter.shape
                if rows > width:
                    raise ValueError(f"{name} has no room for {rows} orthogonal rows")
                basis, _ = torch.linalg.qr(torch.randn(width, rows, generator=source))
                parameter.data.copy_(basis.T)
            else:
                halves[name] = parameter.shape[1] // 2

    def step(lora: TrainingLora, updates: Updates, batch: Batch) -> None:
        if not halves:
            prepare(lora)
        backs = {name: lora.parameters[name] for name in halves}
        styles = {name: back.data[:, halves[name] :].clone() for name, back in backs.items()}
        for name, back in backs.items():
            back.data[:, halves[name] :] = 0
        content = torch.autograd.grad(prediction_loss(bench.base, batch, of_embroidery=False), list(backs.values()))
        for name, back in backs.items():
            back.data[:, halves[name] :] = styles[name]
        style = torch.autograd.grad(prediction_loss(bench.base, batch, of_embroidery=True), list(backs.values()))
        for (name, back), of_content, of_style in zip(backs.items(), content, style, strict=True):
            half = halves[name]
            back.grad = torch.cat([of_content[:, :half], of_style[:, half:]], 1)
        updates.apply("embroidery")

    both = _fitted(bench, reference, config, every, every, step)
    kept: dict[str, Tensor] = {}
    for name, tensor in both.tensors.items():
        half = (tensor.shape[0] if "lora_A" in name else tensor.shape[1]) // 2
        kept[name] = (tensor[half:] if "lora_A" in name else tensor[:, half:]).contiguous()
    return replace(both, tensors=kept)


def _three_photos(bench: Bench, reference: Reference, config: TrainConfig) -> Adapter:
    """Two further samples in the same style, of the two designs after the teacher's, their designs drawn from them."""
    pair = reference.pair
    more = tuple(one.embroidery for one in reference.further)
    source = PairInput(pair.embroidery, caption=reference.teacher.name, pair=pair, more=more)
    return Adapter.from_bytes(bench.trained(f"{reference.name}: three photos", source, config).adapter)


def _flattened(bench: Bench, reference: Reference, _config: TrainConfig) -> Pair:
    prepared = prepare_reference(reference.pair.embroidery, bench.size, crop="whole", balance=False)
    return build_pair(prepared, "flatten")


def _changed(**changes: object) -> Callable[[Bench, Reference, TrainConfig], Adapter]:
    """EmoLoRA with some numbers of its training changed."""

    def train(bench: Bench, reference: Reference, config: TrainConfig) -> Adapter:
        return _emolora(bench, reference, replace(config, **changes))  # type: ignore[arg-type]

    return train


def _without_contrast(bench: Bench, reference: Reference, config: TrainConfig) -> Adapter:
    return _emolora(bench, reference, replace(config, stage_one_steps=config.total_steps))


def _of_eight(*, selected: bool) -> Callable[[Bench, Reference, TrainConfig], Adapter]:
    """EmoLoRA with eight complementary pairs, as they come or only those that selection keeps."""

    def train(bench: Bench, reference: Reference, config: TrainConfig) -> Adapter:
        complement = replace(config.complement, count=8, feature_steps=10 if selected else 0)
        return _emolora(bench, reference, replace(config, complement=complement))

    return train


def _two_blocks(bench: Bench, reference: Reference, config: TrainConfig) -> Adapter:
    names = ",".join(bench.base.info.style_blocks[-2:])
    return _emolora(bench, reference, replace(config, block_choice=names))


def _from_photo(bench: Bench, reference: Reference, config: TrainConfig) -> Adapter:
    return _emolora(bench, reference, config, _flattened(bench, reference, config))


# Drawing


def _drawn(
    name: str, train: Callable[[Bench, Reference, TrainConfig], Adapter], *, laid: bool
) -> Callable[[Bench, Reference, str], Drawer]:
    def prepare(bench: Bench, reference: Reference, preset: str) -> Drawer:
        adapter = _learnt(bench, reference, preset, name, lambda r, config: train(bench, r, config))
        return _with(bench, adapter if laid else replace(adapter, swatch=None))

    return prepare


def _with(bench: Bench, adapter: Adapter | None) -> Drawer:
    config = bench.render()
    return lambda case, seed: bench.sew(case.flat, adapter, config, seed)


def _plain(bench: Bench, _reference: Reference, _preset: str) -> Drawer:
    return _with(bench, None)


def _laid_plain(bench: Bench, reference: Reference, _preset: str) -> Drawer:
    return _with(bench, style_at_a_glance(bench.base, reference.pair))


def _quilted(_bench: Bench, reference: Reference, _preset: str) -> Drawer:
    swatch = swatch_of(reference.pair)
    if swatch is None:
        raise ValueError(f"{reference.name} shows no motif")
    return lambda case, seed: np.asarray(lay_stitches(swatch, case.flat, case.mask, seed).picture)


def _style_id(bench: Bench, reference: Reference, _preset: str) -> Drawer:
    return style_id(bench.base, reference.pair, bench.render())


def _style_aligned(bench: Bench, reference: Reference, _preset: str) -> Drawer:
    return style_aligned(bench.base, reference.pair, bench.render())


def _copied(_bench: Bench, _reference: Reference, _preset: str) -> Drawer:
    return lambda case, _seed: case.flat


def _sewn_again(_bench: Bench, reference: Reference, _preset: str) -> Drawer:
    again = sewn_anew(reference.style)
    return lambda case, _seed: case.sewn(again)


def _oracle(bench: Bench, reference: Reference, _preset: str) -> Drawer:
    return lambda case, _seed: bench.again(case.sewn(reference.style))


METHODS: dict[str, Method] = {
    "ours": Method(
        "**Hoop**", "ours", "EmoLoRA in the style blocks, from laid stitches", _drawn("emolora", _emolora, laid=True)
    ),
    "emolora": Method(
        "EmoLoRA", "trained", "the same adapter, from the flat design", _drawn("emolora", _emolora, laid=False)
    ),
    "db_lora": Method("DB-LoRA", "trained", "a LoRA in all blocks, on E alone", _drawn("db", _db_lora, laid=False)),
    "b_lora": Method(
        "B-LoRA",
        "trained",
        "two blocks on E alone, one of them kept (arXiv 2403.14572)",
        _drawn("b", _b_lora, laid=False),
    ),
    "pair": Method(
        "PairCustomization",
        "trained",
        "orthogonal content and style halves (arXiv 2405.01536)",
        _drawn("pair", _pair_customization, laid=False),
    ),
    "none": Method("no adapter", "free", "SDEdit and control alone", _plain),
    "style_id": Method(
        "StyleID", "free", "keys and values of E in the upper self-attention (arXiv 2312.09008)", _style_id
    ),
    "style_aligned": Method("StyleAligned", "free", "self-attention shared with E (arXiv 2312.02133)", _style_aligned),
    "quilt": Method("image analogies", "free", "the sample's stitches laid on the design, no diffusion", _quilted),
    "laid": Method("laid, no adapter", "free", "laid stitches, dissolved and drawn again by the base", _laid_plain),
    "db_laid": Method("DB-LoRA, laid", "trained", "as DB-LoRA, from laid stitches", _drawn("db", _db_lora, laid=True)),
    "b_laid": Method("B-LoRA, laid", "trained", "as B-LoRA, from laid stitches", _drawn("b", _b_lora, laid=True)),
    "pair_laid": Method(
        "PairCustomization, laid",
        "trained",
        "as PairCustomization, from laid stitches",
        _drawn("pair", _pair_customization, laid=True),
    ),
    "two_blocks": Method(
        "two style blocks", "ablation", "the last two of the four", _drawn("two", _two_blocks, laid=False)
    ),
    "all_blocks": Method(
        "all blocks",
        "ablation",
        "every block is a style block",
        _drawn("all", _changed(block_choice="all"), laid=False),
    ),
    "auto_blocks": Method(
        "blocks by similarity",
        "ablation",
        "the widest gap in the measured similarity",
        _drawn("auto", _changed(block_choice="gap", analysis_steps=10), laid=False),
    ),
    "soft_blocks": Method(
        "soft blocks",
        "ablation",
        "all blocks, each weighted by its measured unlikeness",
        _drawn("soft", _changed(block_choice="soft", analysis_steps=10), laid=False),
    ),
    "no_contrast": Method(
        "no contrastive stage", "ablation", "stage one for all steps", _drawn("plain", _without_contrast, laid=False)
    ),
    "selection": Method(
        "selection",
        "ablation",
        "of eight complementary pairs those in the style and of other content",
        _drawn("selected", _of_eight(selected=True), laid=False),
    ),
    "no_selection": Method(
        "no selection",
        "ablation",
        "eight complementary pairs as they come",
        _drawn("unselected", _of_eight(selected=False), laid=False),
    ),
    "flatten": Method(
        "pair by flattening",
        "ablation",
        "D drawn from the photo instead of the true artwork",
        _drawn("flatten", _from_photo, laid=True),
    ),
    "three": Method(
        "three photos", "ablation", "two further samples of the style", _drawn("three", _three_photos, laid=False)
    ),
    "sewn_again": Method(
        "the truth, sewn anew",
        "bound",
        "the renderer's truth with other stitches by chance, cloth and light: what two sewings of one style differ by",
        _sewn_again,
    ),
    "copy": Method("the design itself", "bound", "nothing done", _copied),
    "oracle": Method(
        "AE(truth)", "bound", "the truth through the base's autoencoder: no drawing can be nearer", _oracle
    ),
}
"""By name. HEADLINE are compared in the first table, the ablations in the second: what changes a
training is drawn from the flat design, where a LoRA has most to say, and another pair from laid stitches."""
HEADLINE = tuple(name for name, method in METHODS.items() if method.group != "ablation")
ABLATIONS = ("emolora", "ours", *(name for name, method in METHODS.items() if method.group == "ablation"))
STYLES = ("ours", "emolora", "db_lora", "b_lora", "pair", "none", "quilt", "sewn_again", "copy", "oracle")
"""What is run in every style, when nothing else is said."""
TEXT = ("ours", "emolora", "db_lora", "none", "quilt", "sewn_again", "copy", "oracle")
"""What text briefs are drawn by, when nothing else is said."""

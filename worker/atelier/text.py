"""The base's words: one tokenizer and two text encoders, distilled from a sentence encoder.

Captions know a few thousand words; customers know more. The teacher (all-MiniLM-L6-v2, Apache-2.0, as a package ships
it) places any word among its neighbours, and both encoders learn to place phrases as it does, in the very outputs that
the UNet reads. Its vocabulary is compressed into the token embeddings, which stay as they are when the base trains: a
word that no caption ever used then still stands beside one that was.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from worker.engine.prompts import token_ids

PROMPT_TOKENS = 24
TEXT_WIDTHS = (64, 128)
LAYERS = (3, 4)
VOCABULARY = 12_000
STYLE_WORD = "[emb]"
COLOURS = (
    *("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "teal", "navy"),
    *("gold", "beige", "turquoise", "crimson", "scarlet", "violet", "lavender", "silver", "golden", "dark", "light"),
    *("pale", "bright"),
)
COUNTS = ("two", "three", "four", "some", "many")
TEACHER_WIDTH = 192
"""Of the teacher's 384 dimensions, the ones that tell phrases apart."""
_DISTIL_TOKENS, _DISTIL_BATCH = 14, 384

TextEncoders = tuple[CLIPTextModel, CLIPTextModelWithProjection]


def build_tokenizer(captions: Sequence[str], size: int = VOCABULARY) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges are learnt from `captions`; any other word falls apart into pieces.

    The general style word is a token of its own.
    """
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    trainer = trainers.BpeTrainer(vocab_size=size - 600, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator((c.lower().replace(STYLE_WORD, "") for c in captions), trainer)

    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words = [*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)},
        merges=merges,
        model_max_length=PROMPT_TOKENS,
        pad_token="<|endoftext|>",  # noqa: S106 - a token, not a secret
    )
    tokenizer.add_tokens([STYLE_WORD])
    return tokenizer


def build_encoders(tokenizer: CLIPTokenizer) -> TextEncoders:
    """Two untrained encoders, 64 and 128 wide, of three and four layers."""

    def config(index: int) -> CLIPTextConfig:
        width = TEXT_WIDTHS[index]
        return CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_hidden_layers=LAYERS[index],
            num_attention_heads=width // 32,
            max_position_embeddings=PROMPT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )

    return CLIPTextModel(config(0)), CLIPTextModelWithProjection(config(1))


def load_text(folder: Path) -> tuple[CLIPTokenizer, TextEncoders]:
    """Tokenizer and encoders of a base's folder, in single precision."""
    return (
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        (
            CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
            CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2", dtype=torch.float32),
        ),
    )


@dataclass
class Teacher:
    """The sentence encoder: mean over its last hidden states, of unit length."""

    tokenizer: Any
    model: Any
    words: list[str]

    @classmethod
    def load(cls, folder: Path) -> Teacher:
        """Reads all-MiniLM-L6-v2 from its folder; nothing is fetched."""
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
        # WordPiece lists whole words by how common they are.
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        return cls(tokenizer, model, [w for w in lines if w.isascii() and w.isalpha() and len(w) > 2])

    @torch.no_grad()
    def embed(self, phrases: Sequence[str], tick: Callable[[int], object] = lambda _: None) -> Tensor:
        """[N, 384] of unit length."""
        order = sorted(range(len(phrases)), key=lambda i: len(phrases[i]))
        out = torch.empty(len(phrases), 384)
        for start in range(0, len(order), 256):
            part = order[start : start + 256]
            given = self.tokenizer([phrases[i] for i in part], padding=True, return_tensors="pt")
            hidden = self.model(**given).last_hidden_state
            mask = given["attention_mask"][..., None].float()
            out[part] = functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
            tick(len(part))
        return out

    @torch.no_grad()
    def word_vectors(self, pieces: Sequence[str]) -> Tensor:
        """Static embeddings [N, 384] of words and pieces of words, the mean of their parts."""
        table = self.model.embeddings.word_embeddings.weight
        out = torch.zeros(len(pieces), 384)
        for i, piece in enumerate(pieces):
            numbers = self.tokenizer(piece, add_special_tokens=False).input_ids if piece else []
            if numbers:
                out[i] = table[numbers].mean(0)
        return out


def phrases_for(
    names: Sequence[str], words: Sequence[str], styles: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """What the encoders learn on: names and common words alone, coloured, counted, paired and in styles."""
    out = [*names, *words, *(f"a {word}" for word in words), *(f"{style} style" for style in styles)]
    things = [*names, *names, *words[:5000]]

    def pick(options: Sequence[str]) -> str:
        return str(options[int(rng.integers(len(options)))])

    for _ in range(4):
        for name in things:
            kind = rng.random()
            if kind < 0.45:
                text = f"{pick(('a ', 'the ', ''))}{pick(COLOURS)} {name}"
            elif kind < 0.55:
                text = f"{pick(COUNTS)} {name}"
            elif kind < 0.7:
                text = f"{pick(COLOURS)} {name} and {pick(things)}"
            elif kind < 0.9:
                text = f"a {name} in {pick(styles)} style"
            else:
                text = f"{pick(words[:6000])} {name}"
            out.append(text)
    return list(dict.fromkeys(out))


class _Student(nn.Module):
    """Both encoders with the heads that the teacher's answers are read from."""

    def __init__(self, encoders: TextEncoders, width: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.heads = nn.ModuleList([nn.Linear(w, width) for w in (*TEXT_WIDTHS, TEXT_WIDTHS[1])])

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[list[Tensor], Tensor]:
        answers, spread = [], torch.zeros(())
        for i, encoder in enumerate(self.encoders):
            out = encoder(ids, output_hidden_states=True)
            hidden = out.hidden_states[-2]
            weight = mask[..., None]
            answers.append(self.heads[i]((hidden * weight).sum(1) / weight.sum(1)))
            # What the UNet reads raw should be about standard normal, channel by channel.
            flat = hidden[mask.bool()]
            spread = spread + flat.mean(0).square().mean() + (flat.std(0) - 1).square().mean()
            if i == 1:
                answers.append(self.heads[2](out[0]))
        return answers, spread


def make_text_encoders(
    out: Path, teacher_folder: Path, minutes: float, names: Sequence[str], styles: Sequence[str]
) -> dict[str, float]:
    """Builds the tokenizer and distils both encoders into `out`, laid out as a base's folder.

    Args:
        out: Gets `tokenizer`, `tokenizer_2`, `text_encoder`, `text_encoder_2`.
        teacher_folder: all-MiniLM-L6-v2.
        minutes: Of training, after the teacher has answered (some minutes more).
        names: What captions call things.
        styles: What captions call stitches, with and without descriptors.

    Returns:
        Cosine to the teacher's answers on held-out phrases: `encoder`, `encoder_2`, `pooled`; and the share of held-out
        phrases whose nearest neighbour among 500 is the teacher's: `neighbour`.
    """
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    teacher = Teacher.load(teacher_folder)
    words = teacher.words[:9000]
    weighted = [
        *words,
        *words[:4000],
        *(name for name in names for _ in range(3)),
        *(s for s in styles for _ in range(30)),
    ]
    tokenizer = build_tokenizer([*weighted, *(c for c in COLOURS for _ in range(30))])
    phrases = phrases_for(names, words, [*styles, STYLE_WORD], rng)
    phrases = [phrases[i] for i in rng.permutation(len(phrases))]
    with Progress() as progress:
        bar = progress.add_task("teacher answers", total=len(phrases))
        asked = [p.replace(STYLE_WORD, "embroidery") for p in phrases]
        answers = teacher.embed(asked, lambda n: progress.advance(bar, n))
        centred = answers - answers.mean(0)
        basis = torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :TEACHER_WIDTH]
        targets = functional.normalize(centred @ basis, dim=-1)

        encoders = build_encoders(tokenizer)
        _seed_embeddings(encoders, tokenizer, teacher)
        student = _Student(encoders, TEACHER_WIDTH)
        ids = token_ids(tokenizer, phrases)
        held = slice(0, min(2000, len(ids) // 4))
        figures = _distil(student, ids, targets, held, minutes, progress)
    for encoder, name in zip(encoders, ("text_encoder", "text_encoder_2"), strict=True):
        encoder.save_pretrained(out / name)
    for name in ("tokenizer", "tokenizer_2"):
        tokenizer.save_pretrained(out / name)
    return figures


@torch.no_grad()
def _seed_embeddings(encoders: TextEncoders, tokenizer: CLIPTokenizer, teacher: Teacher) -> None:
    """Token embeddings from the teacher's, compressed to each encoder's width, of deviation 0.3.

    CLIP's 0.02 leaves a cross-attention of this width nothing to tell words apart by.
    """
    pieces = [tokenizer.convert_ids_to_tokens(i).replace("</w>", "") for i in range(len(tokenizer))]
    pieces = ["embroidery" if piece == STYLE_WORD else piece for piece in pieces]
    vectors = teacher.word_vectors(pieces)
    centred = vectors - vectors[vectors.abs().sum(1) > 0].mean(0)
    basis = torch.linalg.eigh(centred.T @ centred)[1].flip(1)
    for encoder, width in zip(encoders, TEXT_WIDTHS, strict=True):
        inner = encoder.get_input_embeddings().weight
        small = centred @ basis[:, :width]
        # Leading directions say how common a word is; they must not drown what it means.
        small = small / small.std(0).sqrt()
        inner.copy_(0.3 * small / small.std())
        positions = [p for n, p in encoder.named_parameters() if "position_embedding" in n]
        for position in positions:
            position.normal_(std=0.05)


def _mask(ids: Tensor, eos: int) -> Tensor:
    """1 for words, 0 for the start, the end and padding, [B, L]; never all 0."""
    inside = ids != eos
    inside[:, 0] = ~inside[:, 1:].any(1)
    return inside.float()


def _distil(
    student: _Student, ids: Tensor, targets: Tensor, held: slice, minutes: float, progress: Progress
) -> dict[str, float]:
    eos = int(ids[0, -1])
    count, start = len(ids), held.stop
    optimiser = torch.optim.AdamW(student.parameters(), 2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    bar = progress.add_task("distilling", total=100)
    begin = time.monotonic()
    step = 0
    while (done := (time.monotonic() - begin) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done))
        pick = torch.randint(start, count, (_DISTIL_BATCH,))
        batch, target = ids[pick, :_DISTIL_TOKENS], targets[pick]
        given, spread = student(batch, _mask(batch, eos))
        likeness = target @ target.T
        loss = 0.02 * spread
        for answer in given:
            unit = functional.normalize(answer, dim=-1)
            loss = loss + (1 - (unit * target).sum(-1)).mean() + 2 * (unit @ unit.T - likeness).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        step += 1
        progress.update(bar, completed=100 * done, description=f"distilling, loss {loss.item():.3f}, step {step}")
    with torch.no_grad():
        given, _ = student(ids[held], _mask(ids[held], eos))
        units = [functional.normalize(answer, dim=-1) for answer in given]
        target = targets[held]
        names = ("encoder", "encoder_2", "pooled")
        figures = {n: float((u * target).sum(-1).mean()) for n, u in zip(names, units, strict=True)}
        some = slice(0, 500)
        ours, theirs = ((u[some] @ u[some].T).fill_diagonal_(-9).argmax(1) for u in (units[2], target))
        figures["neighbour"] = float((ours == theirs).float().mean())
    return figures

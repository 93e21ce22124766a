"""Whether words bring their thing: pictures are to be found again by their words.

First those that the base makes of words alone, from noise and without control; then those that a customer is shown,
which begin with a drawing (`worker.engine.briefs`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from worker.atelier.evaluation import examples, judge
from worker.atelier.evaluation.bench import DRAWING, Bench, Figures, digest_of, noise_like
from worker.atelier.evaluation.examples import VIEWS, Example, training_examples, true_examples
from worker.atelier.evaluation.judge import Eye, JudgeUnavailableError, Mapping, Reader, found_again, ranks
from worker.atelier.evaluation.sheets import contact_sheet
from worker.atelier.held_out import HELD_OUT_BRIEFS, SYNONYM_BRIEFS
from worker.engine.bases import tensor_to_image
from worker.engine.briefs import draw_brief
from worker.engine.colour import Float, Picture
from worker.engine.sampling import conditions, denoise

DESIGNS = 2500
"""That the judge learns from, each flat and embroidered: a quarter of an hour, once for all bases."""
CHANCE = {"top_1": 0.01, "top_5": 0.05}
CLOTH = (236, 233, 226)
_PER_ROW = 10
Draw = Callable[[Bench, str, str, int], Picture]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Judge:
    """Tells which of some texts a picture shows.

    Attributes:
        eye, reader, mapping: See `worker.atelier.evaluation.judge`.
        true: What it makes of true renders: unit vectors [N, K], in the order of `true_texts` and `true_views`.
    """

    eye: Eye
    reader: Reader
    mapping: Mapping
    true: Float
    true_texts: tuple[str, ...]
    true_views: tuple[str, ...]

    def places(self, vectors: Float, texts: Sequence[str], wanted: Sequence[str]) -> list[int]:
        """The place of each picture's own text among `texts`."""
        known = list(texts)
        return ranks(vectors, self.mapping.of_texts(self.reader(known)), [known.index(text) for text in wanted])

    def see(self, pictures: Sequence[Picture]) -> Float:
        """Unit vectors [N, K] of pictures."""
        return self.mapping.of_pictures(self.eye(pictures))

    def ceiling(self, texts: Sequence[str]) -> Figures:
        """How well true renders of these texts are found again, by view: no base can be expected to do better."""
        found = {}
        for view in VIEWS:
            kept = [i for i, text in enumerate(self.true_texts) if text in texts and self.true_views[i] == view]
            wanted = [self.true_texts[i] for i in kept]
            found[view] = found_again(self.places(self.true[kept], texts, wanted)) | {"pictures": len(kept)}
        return found


def judge_for(bench: Bench, icons: Path, eye: Eye, reader: Reader, designs: int = DESIGNS) -> Judge:
    """The judge kept in `work`, or a new one.

    Args:
        bench: Its `work` keeps the judge, which no base has a part in.
        icons: Folder of the icon packages.
        eye: Sees.
        reader: Reads.
        designs: How many a new one learns from.
    """
    made_of = digest_of([*DRAWING, Path(str(judge.__file__)), Path(str(examples.__file__))], bench.size, designs)
    path = bench.work / f"judge-{made_of}.npz"
    if not path.exists():
        features, texts = _seen(
            eye, training_examples(icons, designs, bench.size, lambda n: bench.track(n, "text: the judge learns"))
        )
        mapping = Mapping.fit(features, _read(reader, [text for text, _ in texts]))
        every = list({w.text: w for w in (*examples.wanted_briefs(), *examples.wanted_plain())}.values())
        true, told = _seen(
            eye, true_examples(icons, every, bench.size, lambda w: bench.track(w, "text: true renders of the briefs"))
        )
        mapping.save(path, true=mapping.of_pictures(true), told=np.array(told))
    with np.load(path) as kept:
        told = kept["told"].tolist()
        return Judge(
            eye, reader, Mapping.read(kept), kept["true"], tuple(text for text, _ in told), tuple(v for _, v in told)
        )


def _seen(eye: Eye, found: Iterable[Example]) -> tuple[Float, list[tuple[str, str]]]:
    features, told = [], []
    for example in found:
        features.append(eye([example.picture])[0])
        told.append((example.text, example.view))
    return np.stack(features), told


def _read(reader: Reader, texts: Sequence[str]) -> Float:
    once = list(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(once)}
    vectors: Float = reader(once)[[place[text] for text in texts]]
    return vectors


def imagined(bench: Bench, words: str, view: str, seed: int) -> Picture:
    """A picture of the words from noise, by the draft preset for text; kept in `out` while the base is the same."""
    base = bench.base

    def draw() -> bytes:
        config = bench.render("text" if base.info.split_prompts else "flat", size=bench.size)
        cells = bench.size // base.downscale
        noise = noise_like((1, base.latent_channels, cells, cells), seed, base.device)
        told = conditions(base, words, config, styled=view == "embroidered")
        file = io.BytesIO()
        tensor_to_image(base.decode_latents(denoise(base, noise, told, config)))[0].save(file, "PNG")
        return file.getvalue()

    name = hashlib.sha256(f"{words} {seed}".encode()).hexdigest()[:12]
    return np.asarray(Image.open(io.BytesIO(bench.kept(f"text-{view}-{name}.png", draw))).convert("RGB"))


def answered(bench: Bench, words: str, view: str, seed: int) -> Picture:
    """What a customer is shown for the words: a drawing of them, and the base's embroidery of that; else `imagined`."""
    drawn = draw_brief(words, bench.size, CLOTH)
    if drawn is None:
        return imagined(bench, words, view, seed)
    flat = np.asarray(drawn.picture)
    return bench.sew(flat, None, bench.render(), seed) if view == "embroidered" else flat


def _drawn_and_found(
    bench: Bench, known: Judge, briefs: Sequence[str], wanted: Sequence[str], sheet: str, draw: Draw = imagined
) -> dict[str, Figures]:
    """Draws every brief in both views; how often the text in `wanted` is found among all of them."""
    found = {}
    for view in VIEWS:
        numbered = list(enumerate(briefs))
        pictures = [draw(bench, words, view, seed) for seed, words in bench.track(numbered, f"text: {sheet}, {view}")]
        texts = list(dict.fromkeys(wanted))
        places = known.places(known.see(pictures), texts, wanted)
        found[view] = found_again(places) | {"candidates": len(texts), "places": places}
        captions = [f"{place}. {words}" for place, words in zip(places, briefs, strict=True)]
        bench.save(contact_sheet(_rows(pictures), (), _rows(captions), 160), f"text-{sheet}-{view}.png")
    return found


def _rows(items: Sequence[_Item]) -> list[list[_Item]]:
    return [list(items[i : i + _PER_ROW]) for i in range(0, len(items), _PER_ROW)]


def measure(bench: Bench) -> Figures:
    """Briefs whose words training knows, but never together; and synonyms that no caption used.

    Returns:
        ``flat``, ``embroidered``: ``top_1`` and ``top_5`` of the pictures drawn from the 100 held-out briefs, found
        among these, and their ``places``; ``true``: the same of true renders, the judge's ceiling; ``synonyms``: of the
        50 synonym briefs, found among their plain forms; ``plain``: of pictures drawn from the plain forms themselves;
        ``true_plain``: of true renders of these; ``chance``: of guessing among 100.
    """
    if bench.icons is None:
        return {"skipped": "the judge learns from icons, and there are none"}
    try:
        known = judge_for(bench, bench.icons, judge.trained_eye(), judge.trained_reader())
    except JudgeUnavailableError as error:
        return {"skipped": str(error)}
    briefs = [brief.text for brief in HELD_OUT_BRIEFS]
    synonyms, plain = [brief for brief, _ in SYNONYM_BRIEFS], [plain for _, plain in SYNONYM_BRIEFS]
    return {
        **_drawn_and_found(bench, known, briefs, briefs, "briefs"),
        "true": known.ceiling(briefs),
        "synonyms": _drawn_and_found(bench, known, synonyms, plain, "synonyms"),
        "plain": _drawn_and_found(bench, known, plain, plain, "plain"),
        "true_plain": known.ceiling(list(dict.fromkeys(plain))),
        "answers": _drawn_and_found(bench, known, briefs, briefs, "answers", answered),
        "synonym_answers": _drawn_and_found(bench, known, synonyms, plain, "synonym-answers", answered),
        "chance": CHANCE,
    }

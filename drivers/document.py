"""XML and JSON answers of devices as plain mappings, lists and scalars, and the way to one value in them. Pure.

Whatever the bytes are, only DocumentError leaves this module, in linear time: size, depth and number of elements are bounded, and
a document type or an entity declaration ends the parse before it can expand.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_ELEMENTS = 20_000
_CONDITION = re.compile(r"([^\[\]]+)\[([^=\[\]]+)=([^\[\]]*)\]")
_NOT_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[^\[\]{}"]+', re.DOTALL)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_NATIONAL = re.compile(r"charset=[\"' ]*gb", re.IGNORECASE)
_DECLARED = re.compile(rb"<\?xml[^>]{0,100}encoding=[\"']gb[\w-]{1,10}[\"'][^>]{0,100}\?>", re.IGNORECASE)
"""GB 2312 and GBK, which are in GB 18030: as the content type or the declaration says it. Our XML parser knows neither."""
TEXT = "#text"
"""The text of an XML element that has attributes or children too."""

Document = dict[str, Any] | list[Any] | str | int | float | bool | None


class DocumentError(ValueError):
    """The bytes are no XML or JSON that we take. The text says why, and not what stood there."""


@dataclass(slots=True)
class _Element:
    name: str
    content: dict[str, Any]
    text: list[str]


def parse(data: bytes, content_type: str = "") -> Document:
    """A JSON or XML document, told apart by its first character (devices name the wrong type). Raises DocumentError."""
    if len(data) > MAX_BYTES:
        raise DocumentError(f"{len(data)} bytes, where {MAX_BYTES} are the most")
    body = data.removeprefix(b"\xef\xbb\xbf").strip()
    if not body:
        raise DocumentError("nothing")
    declared = _DECLARED.match(body)
    if declared is not None or (_NATIONAL.search(content_type) and not body.startswith(b"<?xml")):
        try:
            body = body[declared.end() if declared else 0 :].decode("gb18030").strip().encode()
        except UnicodeDecodeError as error:
            raise DocumentError("text that is not in the GB 18030 that it says") from error
    if body[:1] == b"<":
        return parse_xml(body)
    if body[:1] in b'{["' or "json" in content_type:
        return parse_json(body)
    raise DocumentError("neither XML nor JSON")


def parse_json(body: bytes) -> Document:
    """A JSON document. Raises DocumentError, for NaN and for numbers that no float holds, too."""
    depth = deepest = 0
    for mark in _NOT_STRUCTURE.sub(b"", body):
        depth += 1 if mark in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise DocumentError(f"JSON nested {deepest} deep")
    try:
        found: Document = json.loads(body, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
        if _HALF.search(body) is not None:
            json.dumps(
                found, ensure_ascii=False
            ).encode()  # half a surrogate pair is a character that nobody can write down
    except (ValueError, RecursionError) as error:
        raise DocumentError("no JSON") from error
    return found


def _no_number(text: str) -> float:
    raise ValueError(text)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("out of range")
    return number


def _whole(text: str) -> int:
    if len(text) > 40:
        raise ValueError("too long")
    return int(text)


def parse_xml(body: bytes) -> Document:
    """An XML document: an element is a mapping of its children and `@attributes`, or its text where it has neither; children of
    one name are a list. Namespaces are left out. Raises DocumentError for document types and entities, too.
    """
    top = _Element("", {}, [])
    stack = [top]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS:
            raise DocumentError(f"more than {MAX_ELEMENTS} elements")
        if len(stack) > MAX_DEPTH:
            raise DocumentError(f"XML nested more than {MAX_DEPTH} deep")
        content = {
            f"@{_local(key)}": value
            for key, value in attributes.items()
            if key != "xmlns" and not key.startswith("xmlns:")
        }
        stack.append(_Element(_local(name), content, []))

    def end(_: str) -> None:
        element = stack.pop()
        text = "".join(element.text).strip()
        value: Any = element.content or text
        if element.content and text:
            element.content[TEXT] = text
        around = stack[-1].content
        if element.name in around:
            if not isinstance(around[element.name], list):
                around[element.name] = [around[element.name]]
            around[element.name].append(value)
        else:
            around[element.name] = value

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: stack[-1].text.append(text)
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise DocumentError(f"no XML (line {error.lineno})") from error
    except (LookupError, ValueError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError("no XML in an encoding that we know") from error
    return top.content


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _refuse(*_: object) -> None:
    raise DocumentError("a web page, or another document with a type or entity declaration")


def pick(document: Document, way: str) -> Document:
    """The value at the end of the way (`address_http.Http.pick`). Raises KeyError with the step that is not there.

    What stands there once in XML may be asked for with or without the number 0.
    """
    found: Any = document
    for step in way.split("/") if way else ():
        found = _step(found, step)
    if isinstance(found, dict) and TEXT in found:
        return found[TEXT]  # type: ignore[no-any-return]
    return found  # type: ignore[no-any-return]


def _step(found: Any, step: str) -> Any:
    if match := _CONDITION.fullmatch(step):
        name, key, want = match.groups()
        among = found.get(name) if isinstance(found, dict) else None
        for each in among if isinstance(among, list) else [among]:
            if isinstance(each, dict) and _said(each.get(key)) == want:
                return each
        raise KeyError(step)
    if isinstance(found, list):
        if step.isdecimal() and int(step) < len(found):
            return found[int(step)]
        if not step.isdecimal() and len(found) == 1:
            return _step(found[0], step)
        raise KeyError(step)
    if isinstance(found, dict) and step in found:
        return found[step]
    if step == "0" and found not in (None, ""):
        return found
    raise KeyError(step)


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def count(document: Document, way: str) -> int:
    """How many elements the way finds: a last step `name[key=value]` counts those that fit; 0 where there is none."""
    head, _, last = way.rpartition("/")
    try:
        around = pick(document, head)
    except KeyError:
        return 0
    match = _CONDITION.fullmatch(last)
    if match is None:
        try:
            found = _step(around, last)
        except KeyError:
            return 0
        return len(found) if isinstance(found, list) else int(found not in (None, ""))
    name, key, want = match.groups()
    among = around.get(name) if isinstance(around, dict) else None
    every = among if isinstance(among, list) else [among]
    return sum(isinstance(each, dict) and _said(each.get(key)) == want for each in every)

"""Reading YAML from strangers: no surprise in a value, no way to exhaust the reader, and every value keeps
its place.

The accepted language is the part of YAML 1.2 that settings need: mappings with text keys, lists, text, true
and false, null, and finite numbers. ``yes`` and ``2024-01-01`` are text. Tags, merge keys, a second document
and duplicate keys are errors. Size, depth, and the growth through aliases are bounded, so reading takes well
below a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from qtune.errors import InputError, Problem
from qtune.records import Location, yaml_name

MOST_BYTES = 2**20
MOST_DEPTH = 32
MOST_NODES = 100_000
MOST_PROBLEMS = 100

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TRUE, _FALSE, _NULL = (
    ("true", "True", "TRUE"),
    ("false", "False", "FALSE"),
    ("null", "Null", "NULL", "~", ""),
)
_LONGEST_NUMBER = 40
_MOST_WHOLE = 2**63 - 1
_PLAIN_TAGS = (None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class BadValue:
    """Stands for a value that has an error already; whatever reads it may complain, and is not listened
    to."""

    def __repr__(self) -> str:
        return "a value that could not be read"


@dataclass(slots=True)
class Node:
    """A value and its place. kind: "map", "list" or "scalar"; text: a scalar as written; size: values inside,
    aliases counted as often as they are used."""

    kind: str
    line: int
    column: int
    text: str = ""
    value: Any = None
    entries: dict[str, tuple[Node, int, int]] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    size: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """A file as data, with the place of everything in it. name: what to call the file in messages."""

    name: str
    root: Node
    problems: tuple[Problem, ...]

    def data(self) -> Any:
        """The plain data: dict, list, str, bool, int, float, None, and BadValue where a problem is."""
        return _plain(self.root)

    def where(self, location: Location, *, of_key: bool = False) -> str:
        """The place of a value (or of its key) as file:line:column; of its nearest container if it is
        absent."""
        node, line, column = self.root, self.root.line, self.root.column
        for step in location:
            found = _entry(node, step)
            if found is None:
                break
            node, key_line, key_column = found
            line, column = (key_line, key_column) if of_key else (node.line, node.column)
        return f"{self.name}:{line}:{column}"

    def written(self, location: Location) -> str | None:
        """The value as it is written, for a scalar; None for containers and for what is absent."""
        node = self.root
        for step in location:
            found = _entry(node, step)
            if found is None:
                return None
            node = found[0]
        return node.text if node.kind == "scalar" else None

    def holds_bad_value(self, location: Location) -> bool:
        """True if the value there, or one around it, has a problem of its own."""
        node = self.root
        for step in location:
            found = _entry(node, step)
            if found is None:
                return False
            node = found[0]
            if isinstance(node.value, BadValue):
                return True
        return isinstance(node.value, BadValue)


def read_document(source: Path | str, name: str) -> Document:
    """The document in a file, or in a text; raises InputError if it has no usable structure at all."""
    return _Reader(_text_of(source, name), name).document()


def _text_of(source: Path | str, name: str) -> str:
    if isinstance(source, str):
        content = source.encode("utf-8", errors="surrogatepass")
    else:
        try:
            with source.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            _fail(name, str(source), f"this file cannot be read: {error.strerror}")
    if len(content) > MOST_BYTES:
        _fail(name, f"{len(content)} bytes or more", "a file of settings is at most 1 MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _fail(name, repr(content[error.start : error.start + 4]), f"byte {error.start} is not UTF-8 text")


def _fail(where: str, value: str, message: str) -> NoReturn:
    raise InputError(Problem(where=where, value=value, message=message))


def _entry(node: Node, step: str | int) -> tuple[Node, int, int] | None:
    if isinstance(step, int):
        item = node.items[step] if node.kind == "list" and 0 <= step < len(node.items) else None
        return (item, item.line, item.column) if item else None
    return node.entries.get(step) or node.entries.get(yaml_name(step))


def _plain(node: Node) -> Any:
    if node.kind == "map":
        return {key: _plain(entry[0]) for key, entry in node.entries.items()}
    if node.kind == "list":
        return [_plain(item) for item in node.items]
    return node.value


@dataclass(slots=True)
class _Open:
    """A container that is still being read; in a mapping ``key`` is the one whose value comes next."""

    node: Node
    anchor: str | None
    key: tuple[str, int, int] | None = None


class _Reader:
    """Builds the document from the parser's events, without recursion, checking every bound on the way."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._anchors: dict[str, Node] = {}
        self._open: list[_Open] = []
        self._root: Node | None = None
        self._problems: list[Problem] = []
        self._total = 0

    def document(self) -> Document:
        handlers: dict[type[yaml.Event], Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.DocumentStartEvent: self._document_start,
        }
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            for event in yaml.parse(self._text, Loader=loader):
                handler = handlers.get(type(event))
                if handler is not None:
                    handler(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"{self._name}:{mark.line + 1}:{mark.column + 1}" if mark else self._name
            written = self._line(mark.line) if mark else ""
            _fail(where, written, f"this is not YAML: {error.problem or error.context}")
        except yaml.YAMLError as error:
            _fail(self._name, "", f"this is not YAML: {error}")
        if self._root is None:
            _fail(self._name, "", "the file is empty")
        return Document(self._name, self._root, tuple(self._problems))

    def _line(self, line: int) -> str:
        lines = self._text.splitlines()
        return lines[line].strip() if line < len(lines) else "the end of the file"

    def _document_start(self, event: yaml.Event) -> None:
        if self._root is not None:
            self._stop(event, "---", "a file of settings holds one document")

    def _stop(self, event: yaml.Event, value: str, message: str) -> NoReturn:
        line, column = _place_of(event)
        _fail(f"{self._name}:{line}:{column}", value, message)

    def _complain(self, node: Node, value: str, message: str) -> None:
        if len(self._problems) < MOST_PROBLEMS:
            where = f"{self._name}:{node.line}:{node.column}"
            self._problems.append(Problem(where=where, value=value, message=message))

    def _node(self, event: yaml.Event, kind: str) -> Node:
        return Node(kind, *_place_of(event))

    def _count(self, event: yaml.Event, size: int) -> None:
        self._total += size
        if self._total > MOST_NODES:
            self._stop(
                event, "too many values", f"a file holds at most {MOST_NODES} values, aliases written out"
            )

    def _check_tag(self, node: Node, tag: str | None) -> None:
        if tag not in _PLAIN_TAGS:
            node.value = BadValue() if node.kind == "scalar" else None
            self._complain(node, str(tag), "tags are not accepted: leave it out, and write the value itself")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._count(event, 1)
        node = self._node(event, "scalar")
        node.text = event.value
        expects_key = bool(self._open) and self._open[-1].node.kind == "map" and self._open[-1].key is None
        if not event.implicit[0] or event.tag is not None or expects_key:
            node.value = event.value
        else:
            node.value = self._resolve(node, event.value)
        self._check_tag(node, event.tag)
        self._place(event, node, event.anchor)

    def _resolve(self, node: Node, text: str) -> object:
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _INTEGER.fullmatch(text):
            if len(text) <= _LONGEST_NUMBER and abs(int(text)) <= _MOST_WHOLE:
                return int(text)
            self._complain(node, text, "this whole number is too large: at most 2^63 - 1")
            return BadValue()
        if _NOT_FINITE.fullmatch(text):
            self._complain(
                node, text, "only finite numbers are accepted: leave the key out if there is no bound"
            )
            return BadValue()
        if _FLOAT.fullmatch(text):
            if len(text) <= _LONGEST_NUMBER and math.isfinite(float(text)):
                return float(text)
            self._complain(node, text, "this number is too large to compute with, or has too many digits")
            return BadValue()
        return text

    def _alias(self, event: yaml.AliasEvent) -> None:
        anchor = event.anchor
        if any(opened.anchor == anchor for opened in self._open):
            self._stop(event, f"*{anchor}", "this alias contains itself")
        if anchor not in self._anchors:
            self._stop(event, f"*{anchor}", "this alias has no anchor before it")
        node = self._anchors[anchor]
        self._count(event, node.size)
        if len(self._open) + _depth(node) > MOST_DEPTH:
            self._stop(event, f"*{anchor}", f"values are nested more than {MOST_DEPTH} deep")
        self._place(event, node, None)

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        self._count(event, 1)
        if len(self._open) >= MOST_DEPTH:
            self._stop(event, "too deep", f"values are nested more than {MOST_DEPTH} deep")
        node = self._node(event, "map" if isinstance(event, yaml.MappingStartEvent) else "list")
        if self._open and self._open[-1].node.kind == "map" and self._open[-1].key is None:
            self._stop(event, "a mapping or list as a key", "keys must be text")
        self._check_tag(node, event.tag)
        self._open.append(_Open(node, event.anchor))

    def _end(self, event: yaml.Event) -> None:
        opened = self._open.pop()
        self._place(event, opened.node, opened.anchor)

    def _place(self, event: yaml.Event, node: Node, anchor: str | None) -> None:
        """Put a finished value where it belongs: into the container around it, or at the root."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self._root = node
            return
        around = self._open[-1]
        around.node.size += node.size
        if around.node.kind == "list":
            around.node.items.append(node)
        elif around.key is None:
            self._key(event, around, node)
        else:
            key, line, column = around.key
            around.key = None
            if key not in around.node.entries:
                around.node.entries[key] = (node, line, column)

    def _key(self, event: yaml.Event, around: _Open, node: Node) -> None:
        if node.kind != "scalar" or not isinstance(node.text, str):
            self._stop(event, "a mapping or list as a key", "keys must be text")
        line, column = _place_of(event)
        place = Node("scalar", line, column)
        if node.text == "<<":
            self._complain(
                place,
                "<<",
                "merge keys are not accepted: write the values out, or use an alias for one value",
            )
        earlier = around.node.entries.get(node.text)
        if earlier is not None:
            self._complain(place, node.text, f"this key is already in line {earlier[1]}: keep one of the two")
        around.key = (node.text, line, column)


def _place_of(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _depth(node: Node) -> int:
    children = [entry[0] for entry in node.entries.values()] + node.items
    return 1 + max(map(_depth, children)) if children else 1

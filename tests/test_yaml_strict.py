"""Reading YAML from strangers: what a value means, where it stands, and what it may cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qtune.errors import InputError
from qtune.strictyaml import MOST_BYTES, MOST_DEPTH, read_document


def read(text: str) -> object:
    """The data of a text, which must have no problem."""
    document = read_document(text, "t.yaml")
    assert document.problems == ()
    return document.data()


def refused(text: str) -> str:
    """The text of the error that reading raises."""
    with pytest.raises(InputError) as caught:
        read_document(text, "t.yaml")
    return str(caught.value)


def complaints(text: str) -> list[str]:
    """The problems of values, with which the rest of the document is still read."""
    return [str(problem) for problem in read_document(text, "t.yaml").problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("12:30", "12:30"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("30s", "30s"),
        ("'8'", "8"),
        ('"null"', "null"),
        ("010", 10),
    ],
)
def test_a_value_means_what_it_looks_like(text: str, value: object) -> None:
    """Numbers, true, false and null are what they are; everything else, times and dates too, is text."""
    assert read(f"a: {text}\n") == {"a": value}
    assert type(read(f"a: {text}\n")["a"]) is type(value)  # type: ignore[index]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.text("ab: -#'\"\n", max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_what_was_written_is_read_back(data: object) -> None:
    """Any data of lists, mappings and plain values survives a YAML dump and this reader."""
    assert read(yaml.safe_dump(data)) == data


def test_every_value_keeps_its_place() -> None:
    """A place is file:line:column; that of an absent key is the place of what should hold it."""
    document = read_document("a:\n  b: [1, 2]\n  c: x\nd: &d {e: 5}\nf: *d\n", "t.yaml")
    assert document.where(("a", "b", 1)) == "t.yaml:2:10"
    assert document.where(("a", "c"), of_key=True) == "t.yaml:3:3"
    assert document.where(("a", "missing")) == "t.yaml:2:3"
    assert document.where(("f", "e")) == "t.yaml:4:11"
    assert document.written(("a", "c")) == "x"
    assert document.written(("a",)) is None


def test_a_duplicate_key_is_an_error_at_the_second_one() -> None:
    """The second of two equal keys is reported with the line of the first, and everything else is read."""
    text = "a: 1\nb: 2\na: 3\n"
    assert complaints(text) == ["t.yaml:3:1: a\n  this key is already in line 1: keep one of the two"]
    assert read_document(text, "t.yaml").data() == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (".nan", "only finite numbers are accepted: leave the key out if there is no bound"),
        ("-.inf", "only finite numbers are accepted: leave the key out if there is no bound"),
        ("1e400", "this number is too large to compute with, or has too many digits"),
        ("1" + "0" * 400, "this whole number is too large: at most 2^63 - 1"),
        ("9223372036854775808", "this whole number is too large: at most 2^63 - 1"),
    ],
)
def test_numbers_that_cannot_be_computed_with_are_errors(value: str, message: str) -> None:
    """NaN, infinities and numbers without bound are refused at their place."""
    (complaint,) = complaints(f"a: 1\nb: {value}\n")
    assert complaint.startswith("t.yaml:2:4: ")
    assert complaint.endswith(message)


def test_tags_and_merge_keys_are_errors() -> None:
    """No tag can make the reader build an object, and no merge key can hide where a value comes from."""
    assert complaints("a: !!python/object:os.system x\n") == [
        "t.yaml:1:4: tag:yaml.org,2002:python/object:os.system\n"
        "  tags are not accepted: leave it out, and write the value itself"
    ]
    assert complaints("a: &a {x: 1}\nb:\n  <<: *a\n") == [
        "t.yaml:3:3: <<\n  merge keys are not accepted: write the values out, or use an alias for one value"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", "this is not YAML: "),
        ("a: 1\n---\nb: 2\n", "a file of settings holds one document"),
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("? [a]\n: 1\n", "keys must be text"),
        ("a: &a [*a]\n", "this alias contains itself"),
        ("a: *b\n", "this alias has no anchor before it"),
        ("a: \0\n", "control characters are not allowed"),
    ],
)
def test_what_has_no_usable_structure_is_refused(text: str, message: str) -> None:
    """Broken syntax, a second document, an empty file and strange keys or aliases are each named."""
    assert message in refused(text)


def test_a_syntax_error_shows_its_line() -> None:
    """A syntax error is reported with its line and what stands there."""
    assert refused("a: 1\nb: 'x\n").startswith("t.yaml:3:1: the end of the file\n")
    assert refused("a: 1\nb: c: d\n") == (
        "t.yaml:2:5: b: c: d\n  this is not YAML: mapping values are not allowed in this context"
    )


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    """Aliases count as often as they are used, so ten lines cannot become a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    assert "a file holds at most 100000 values, aliases written out" in refused("\n".join(lines))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_nesting_is_bounded(opening: str) -> None:
    """Values nested without end are refused when they are too deep, and do not exhaust the stack."""
    assert "nested more than 32 deep" in refused(opening * 500)


def test_an_alias_cannot_nest_deeper_than_the_bound() -> None:
    """Depth counts through aliases: two halves that fit alone do not fit together."""
    half = MOST_DEPTH - 10
    text = f"a: &a {'[' * half}{']' * half}\nb: {'[' * half}*a{']' * half}\n"
    assert "nested more than 32 deep" in refused(text)
    assert read(f"a: &a {'[' * half}{']' * half}\nb: *a\n")


@pytest.mark.parametrize(
    "text",
    ["[" * 900_000, "k: 1\n" * 200_000, "- &a x\n" * 140_000, "a: " + "9" * 900_000, "{a: , " * 150_000],
    ids=["open lists", "duplicates", "anchors", "digits", "open mappings"],
)
def test_a_hostile_file_is_answered_without_much_work(text: str) -> None:
    """A file of almost 1 MiB that is made to hurt ends in an error or a problem, and never in a crash."""
    try:
        problems = read_document(text, "t.yaml").problems
    except InputError as error:
        problems = error.problems
    assert problems


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    """A file over 1 MiB is refused by its size."""
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(InputError, match="a file of settings is at most 1 MiB"):
        read_document(path, "large.yaml")


def test_a_file_that_is_not_text_is_named_with_the_byte(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are shown with their position."""
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(InputError, match="byte 9 is not UTF-8 text"):
        read_document(path, "latin.yaml")


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    """A file that is not there is reported with its path."""
    with pytest.raises(InputError, match="this file cannot be read: No such file"):
        read_document(tmp_path / "none.yaml", "none.yaml")

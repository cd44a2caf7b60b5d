"""Errors: one tree, all problems at once, and texts that say what to do next."""

from __future__ import annotations

import pickle

import pytest

from qtune import errors
from qtune.errors import (
    AnswerIsNo,
    Infeasible,
    InputError,
    ModelError,
    Problem,
    ProviderFailure,
    QtuneError,
    ScenarioError,
    UnitError,
    did_you_mean,
    text_of,
)

PREFETCH = Problem(
    where="consumers.prefetch",
    value="0",
    message="must be at least 1; leave it out for none",
    source="the manual",
)
LOCK = Problem(where="scenario.yaml:12", value="10min", message="must be at most 5min")


def all_errors() -> set[type[QtuneError]]:
    kinds = {c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, QtuneError)}
    assert len(kinds) > 5
    return kinds


@pytest.mark.parametrize(
    ("kinds", "exit_code"),
    [
        ((QtuneError, InputError, UnitError, ScenarioError, ModelError), 2),
        ((AnswerIsNo, Infeasible), 1),
        ((ProviderFailure,), 3),
    ],
)
def test_the_exit_code_tells_no_from_wrongly_asked_from_try_again(
    kinds: tuple[type[QtuneError], ...], exit_code: int
) -> None:
    """A script can tell "no" (1), "wrongly asked" (2) and "the provider failed" (3) apart."""
    assert {kind.exit_code for kind in kinds} == {exit_code}


def test_the_tree_in_the_manual_is_the_tree_in_the_code() -> None:
    """The drawing that opens the module shows every error under its parent, and no other."""
    drawn: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.strip(" │├└─").split(" ")[0]
        if not line.startswith("    ") or not name:
            continue
        indent = line.index(name)
        while parents and parents[-1][0] >= indent:
            parents.pop()
        drawn[name] = parents[-1][1] if parents else "Exception"
        parents.append((indent, name))
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in all_errors()}


def test_an_input_error_lists_every_problem_with_all_that_is_known_of_it() -> None:
    """All problems of an input are reported at once, one block each, with place, value, advice and source."""
    assert str(ScenarioError([PREFETCH, LOCK])) == (
        "consumers.prefetch: 0\n"
        "  must be at least 1; leave it out for none\n"
        "  stated in: the manual\n"
        "\n"
        "scenario.yaml:12: 10min\n"
        "  must be at most 5min"
    )


def test_a_single_problem_needs_no_list_and_no_place() -> None:
    """One problem can be given as it is, and a problem without a place begins with its value."""
    error = InputError(Problem(where="", value="30", message="needs a unit"))
    assert len(error.problems) == 1
    assert str(error) == "30\n  needs a unit"


def test_an_input_error_without_a_problem_cannot_be_made() -> None:
    """An error that names nothing would help nobody, so it is refused where it is made."""
    with pytest.raises(TypeError, match="at least one Problem"):
        InputError([])


def test_an_input_error_is_a_value_error() -> None:
    """Code that validates for others catches ValueError and need not know qtune."""
    assert all(issubclass(kind, ValueError) for kind in (InputError, UnitError, ScenarioError, ModelError))
    assert not issubclass(AnswerIsNo, ValueError)


def test_a_value_cannot_take_over_the_terminal() -> None:
    """Control characters in a bad value are escaped, and a long value is cut with its length."""
    text = str(Problem(where="name", value="a\x1b[31m\nb", message="must be printable"))
    assert text.splitlines() == ["name: a\\x1b[31m\\nb", "  must be printable"]
    first_line = str(Problem(where="name", value="9" * 5000, message="too long")).splitlines()[0]
    assert first_line.endswith("9... (5000 characters)")
    assert len(first_line) < 120


def test_an_answer_that_is_no_carries_its_numbers() -> None:
    """The text of a "no" is its message, and the numbers behind it are there for a program."""
    error = Infeasible("no setting meets the targets", {"least_month_usd": 20.0})
    assert str(error) == "no setting meets the targets"
    assert error.data == {"least_month_usd": 20.0}
    assert Infeasible("no setting meets the targets").data == {}


@pytest.mark.parametrize(
    "error",
    [
        UnitError([PREFETCH, LOCK]),
        Infeasible("p99 is 2s at best", {"p99_s": 2.0}),
        ProviderFailure("no connection"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_from_another_process_is_the_same_error(error: QtuneError) -> None:
    """Runs in other processes report their errors by pickling, which keeps class, text and data."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        ("prefech", ' Did you mean "prefetch"?'),
        ("Receive-Wait", ' Did you mean "receive_wait"?'),
        ("PREFETCH", ' Did you mean "prefetch"?'),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_known_one(word: str, suggestion: str) -> None:
    """A mistyped name gets the name that was probably meant, and a strange one gets no guess."""
    assert did_you_mean(word, ["lock", "prefetch", "receive_wait"]) == suggestion


def test_any_value_can_be_shown() -> None:
    """Even an integer that Python refuses to print has a text."""
    assert text_of(10**5000) == "an integer of 16610 bits"
    assert (text_of(10**20), text_of("30"), text_of(True)) == ("1" + "0" * 20, "'30'", "True")

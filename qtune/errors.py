"""Every error qtune raises on purpose, and nothing else; each says what is wrong and what to do next.

    QtuneError                  anything below; ``str(error)`` is the whole text for a user
    ├── InputError              exit code 2: what was given cannot be used (also a ValueError)
    │   ├── UnitError           a number without a unit, or with one that does not fit
    │   ├── ScenarioError       a scenario that contradicts itself, a limit, or its schema
    │   └── ModelError          a provider model that cannot be read or trusted
    ├── AnswerIsNo              exit code 1: the question was understood and the answer is no
    │   └── Infeasible          no setting meets the targets
    └── ProviderFailure         exit code 3: a broker or its SDK failed; nothing is known about the question
        ├── BrokerDown          it cannot be reached, or does not answer
        ├── Throttled           it refuses a call for now
        ├── QueueFull           it has no room for a message
        ├── LockLost            a delivery, or a session, is not its holder's any more
        ├── SessionLocked       somebody else holds the session that was asked for
        └── MessageNotFound     no message set aside has that number

A program that scripts qtune can therefore tell "no" (1) from "wrongly asked" (2) and "try again" (3).
All of them survive pickling, so that a run in another process can report its error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with an input.

    where: the place, as the user knows it (``scenario.yaml:12``, ``consumers.prefetch``), or "".
    value: the text of what was found there.
    message: which bound it breaks and what to write instead.
    source: where that bound is stated (a page of the provider, a paragraph of the manual), or None.
    """

    where: str
    value: str
    message: str
    source: str | None = None

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        lines = [f"{place}{_shown(self.value)}", *(f"  {line}" for line in self.message.splitlines())]
        if self.source is not None:
            lines.append(f"  stated in: {self.source}")
        return "\n".join(lines)


class QtuneError(Exception):
    """The root of all errors that qtune raises on purpose."""

    exit_code: ClassVar[int] = 2


class InputError(QtuneError, ValueError):
    """What was given cannot be used; ``problems`` lists everything found, not only the first thing.

    It is a ValueError too, so that code which validates for others need not know qtune.
    """

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if not self.problems:
            raise TypeError(f"{type(self).__name__} needs at least one Problem; without any, all is well")
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n\n".join(str(problem) for problem in self.problems)


class UnitError(InputError):
    """A quantity has no unit, an unknown one, or a value that no quantity of its kind can have."""


class ScenarioError(InputError):
    """A scenario contradicts itself, a limit of its provider, or its schema."""


class ModelError(InputError):
    """A provider model cannot be read, or is outside the range in which it may be trusted."""


class AnswerIsNo(QtuneError):  # noqa: N818 - an answer, not an error
    """The question was understood, and the answer is no; ``data`` holds the numbers behind it."""

    exit_code = 1

    def __init__(self, message: str, data: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.data: dict[str, object] = dict(data or {})


class Infeasible(AnswerIsNo):
    """No setting in the searched range meets the targets."""


class ProviderFailure(QtuneError):  # noqa: N818
    """A broker, or the SDK that speaks to it, failed in a way that says nothing about the question."""

    exit_code = 3


class BrokerDown(ProviderFailure):
    """The broker cannot be reached, or does not answer."""


class Throttled(ProviderFailure):
    """The broker refuses a call for now; the same call may succeed later."""


class QueueFull(ProviderFailure):
    """The queue holds as many messages as it may."""


class LockLost(ProviderFailure):
    """The lock of a delivery, or of a session, has ended, so its holder can neither settle nor renew it."""


class SessionLocked(ProviderFailure):
    """Somebody else holds the session that was asked for."""


class MessageNotFound(ProviderFailure):
    """No message that was set aside has the number that was asked for."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: "" or ' Did you mean "prefetch"?'.

    Case, hyphens, blanks and underscores do not count as differences, because that is how names are mistyped.
    """
    by_plain_name = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(word), list(by_plain_name), n=1, cutoff=0.6)
    return f' Did you mean "{by_plain_name[close[0]]}"?' if close else ""


def text_of(value: object) -> str:
    """repr, except for integers so long that Python refuses to print them (over 4300 digits)."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**400:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def _shown(value: str) -> str:
    """The value on one line of bounded length; control characters, which a terminal obeys, are escaped."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in value)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}... ({len(text)} characters)"

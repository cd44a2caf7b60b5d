"""How the kernel is compiled: nopython, nogil, kept on disk, and not at all where numba is absent or switched off.

The kernel's source is also ordinary Python. It runs as such when numba cannot be imported, or when the environment
variable NUMBA_DISABLE_JIT is set, and gives the same rows.

numba keeps compiled code on disk but looks only at the file of the compiled function: after an edit of any other file
of the kernel the old code would still run. The stamp that decides whether kept code is fresh is therefore a digest of
all the kernel's sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial, wraps
from inspect import signature
from pathlib import Path
from typing import Any, Final, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

PLAIN: Final = 0
USUAL: Final = 1
WHOLE: Final = 2
"""Levels of the loop, each with the steps of those below it; levels.py says which plans run at which."""

try:
    import numba as _numba
    from numba.core import config as _config
    from numba.extending import overload as _overload
except ImportError:
    COMPILED = False
else:
    _settings: Any = _config
    COMPILED = not _settings.DISABLE_JIT
    # Nothing is allocated in compiled code, so it needs no reference counts; a division by zero gives infinity, as
    # IEEE arithmetic has it, instead of a check at every division.
    _options: Any = {"_nrt": False, "error_model": "numpy"}
    _njit: Any = partial(_numba.njit, **_options)


def step(function: Function) -> Function:
    """Mark one named step of the loop: it is woven into the loop, so it costs no call."""
    if not COMPILED:
        return function
    compiled: Function = _njit(forceinline=True)(function)
    return compiled


def apart(function: Function) -> Function:
    """Mark a step that every plan needs, but seldom: it is called, so the loop does not grow."""
    if not COMPILED:
        return function
    compiled: Function = _njit()(function)
    return compiled


def rare(otherwise: Any = None, *, level: int = WHOLE) -> Callable[[Function], Function]:
    """Mark a step that few plans need: it is called, and not even compiled where the world is below its level.

    There nothing calls it; what compiled code has in its place gives ``otherwise``, which must be of the type that the
    step gives.
    """

    if callable(otherwise):
        raise TypeError(f"write @rare() above {otherwise.__name__}, with what it gives below its level")

    def mark(function: Function) -> Function:
        if not COMPILED:
            return _checked(function, level)
        names = ", ".join(signature(function).parameters)
        choices: dict[str, Any] = {"step": function}
        exec(f"def nothing({names}): return {otherwise!r}", choices)
        exec(f"def choose({names}): return step if w.level >= {level} else nothing", choices)
        _overload(function, jit_options=_options, inline="never")(choices["choose"])
        return function

    return mark


def _checked(function: Function, level: int) -> Function:
    """The step as Python runs it, which finds out if a world below its level needs it after all."""

    @wraps(function)
    def step(w: Any, *rest: Any) -> Any:
        assert w.level >= level, f"a world of level {w.level} needs {function.__name__}"
        return function(w, *rest)

    return step  # type: ignore[return-value]


def entry(function: Function) -> Function:
    """Mark a function that Python calls: it lets other threads run, and its compiled code is kept on disk."""
    if not COMPILED:
        return function
    compiled = _njit(nogil=True)(function)
    compiled._cache = _stamped_cache(function)
    result: Function = compiled
    return result


def source_stamp(folder: Path) -> str:
    """A digest of every Python file in the kernel's folder, and of those outside whose constants it compiles in."""
    digest = hashlib.sha256()
    package = folder.parents[1]
    others = (
        "engine/streams.py",
        "engine/plan.py",
        "engine/slots.py",
        "engine/scaling.py",
        "engine/pacing.py",
        "result.py",
        "distributions/tables.py",
    )
    for path in [*sorted(folder.glob("*.py")), *(package / name for name in others)]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _stamped_cache(function: Callable[..., Any]) -> Any:
    from numba.core.caching import FunctionCache, IndexDataCacheFile

    cache = FunctionCache(function)
    cache._cache_file = IndexDataCacheFile(
        cache_path=cache._cache_path,
        filename_base=cache._impl.filename_base,
        source_stamp=source_stamp(Path(__file__).parent),
    )
    return cache

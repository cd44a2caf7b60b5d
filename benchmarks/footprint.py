"""What qtune costs besides simulated time: memory of long runs, start-up, and the wait for a recommendation.

All of it is measured from outside, in fresh processes. Run as ``python benchmarks/footprint.py digest 1000000`` this
file is such a process: it digests so many messages and prints what that took.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measure import Row, Spread, cpu_s, rate, ratios, speed, take_turns

CHECKOUT = Path(__file__).resolve().parent.parent
EXAMPLE = CHECKOUT / "models" / "examples" / "llm-conversations.yaml"
HEAVY = (
    "azure",
    "boto3",
    "botocore",
    "ipywidgets",
    "llvmlite",
    "numba",
    "pandas",
    "plotly",
    "scipy",
    "simpy",
)

RATE_PER_S = 200.0
BAR_MEMORY_MB = 300.0
BAR_START_S = 0.3
BAR_CACHED_S = 5.0
BAR_EMPTY_S = 30.0


def stable_scenario(messages: int) -> Any:
    """Eight instances behind an SQS queue, far from full, for about so many messages."""
    from qtune.scenario import Scenario

    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": RATE_PER_S},
        service_time={"family": "lognormal", "mean_s": 0.1, "cv": 0.8},
        failures={"rate": 0.02, "on_failure": "lock_expiry"},
        queue={"provider": "sqs"},
        consumers={"instances": 8, "workers": 4},
        horizon_s=messages / RATE_PER_S,
        seed=1,
    )


def peak_mb() -> float:
    """The most memory this process has held at one time.

    Linux passes a parent's peak on to its children in ``ru_maxrss``, so the process's own mark is read where there is
    one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1000 * 1.024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def digest_here(messages: int) -> None:
    """Digest so many messages in this process, and print what it took as JSON."""
    from qtune.simulation import digest

    scenario = stable_scenario(messages)
    digest(stable_scenario(1000))
    before_mb = peak_mb()
    found: dict[str, Any] = {}
    spent_s = cpu_s(lambda: found.update(digest(scenario).to_dict()))
    counts = found["messages"]
    print(
        json.dumps(
            {
                "messages": sum(counts.values()),
                "left_over": sum(counts.values()) - counts["completed"],
                "p95_s": found["latency_s"]["p95"],
                "cpu_s": spent_s,
                "peak_mb": peak_mb(),
                "before_mb": before_mb,
            }
        )
    )


def measure_memory(quick: bool, full: bool) -> list[Row]:
    """Peak memory of digests of ever longer runs; it must not grow with their length."""
    sizes = [100_000, 1_000_000] if quick else [1_000_000, 10_000_000]
    if full:
        sizes.append(100_000_000)
    rows = []
    for messages in [1_000, *sizes]:
        command = [sys.executable, str(Path(__file__).resolve()), "digest", str(messages)]
        got = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if messages not in sizes:
            continue  # it has only seen to it that the compiled kernel is on disk
        rows.append(
            Row(
                what=f"digest of {messages:.0e} messages, peak memory".replace("e+0", "e"),
                bar=f"{BAR_MEMORY_MB:g} MB",
                measured=f"{got['peak_mb']:.0f} MB",
                met=got["peak_mb"] <= BAR_MEMORY_MB,
                command="python benchmarks/run.py memory" + (" --full" if full else ""),
                notes=(
                    f"{got['before_mb']:.0f} MB of it before the run (python, numpy, the compiled kernel)",
                    f"{speed(got['messages'] / got['cpu_s'])}; p95 {got['p95_s']:.3g} s, "
                    f"{got['left_over']} of {got['messages']} messages not completed at the end",
                ),
            )
        )
    return rows


def compare_digest(quick: bool, full: bool) -> list[Row]:
    """The speed of a digest against that of rows."""
    from qtune.simulation import digest, simulate

    messages, rounds = (100_000, 3) if quick else (1_000_000, 7)
    scenario = stable_scenario(messages)

    def rows_of(number: int) -> float:
        return cpu_s(lambda: simulate(scenario, seed=number)) / messages

    def digest_of(number: int) -> float:
        return cpu_s(lambda: digest(scenario, seed=number)) / messages

    costs = take_turns({"rows": rows_of, "digest": digest_of}, rounds)
    return [
        Row(
            what="digest / simulate, CPU time of the same run",
            measured=ratios(costs, "digest", "rows").text("x"),
            command="python benchmarks/run.py digest",
            notes=(f"{rate(costs, 'rows')} with rows, {rate(costs, 'digest')} without",),
        )
    ]


def children_cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of the processes that are started and awaited in a call, their own and the system's for them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _process_cpu_s(command: list[str], number: int) -> float:
    return children_cpu_s(lambda: subprocess.run(command, check=True, capture_output=True))


def heavy_modules(code: str) -> str:
    """Which heavy packages are loaded after some Python code has run in a fresh process."""
    ending = f"; import sys; print(' '.join(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + ending], check=True, capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "none"


def has_command_line() -> bool:
    """Whether this qtune has a command line."""
    return find_spec("qtune.ui.cli") is not None


def measure_start(quick: bool, full: bool) -> list[Row]:
    """CPU time from nothing to a loaded package, and to the help of the command line."""
    rounds = 5 if quick else 15
    help_code = "from typer.testing import CliRunner; from qtune.ui.cli import app; CliRunner().invoke(app, ['--help'])"
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "import numpy": [sys.executable, "-c", "import numpy"],
        "import qtune": [sys.executable, "-c", "import qtune"],
    }
    if has_command_line():
        commands["qtune --help"] = [sys.executable, "-m", "qtune", "--help"]
    costs = take_turns({name: partial(_process_cpu_s, command) for name, command in commands.items()}, rounds)
    base = " ".join(f"{name} {Spread.of(costs[name]).middle:.3f} s," for name in ("python", "import numpy"))
    loaded = {"import qtune": heavy_modules("import qtune")}
    if has_command_line():
        loaded["qtune --help"] = heavy_modules(help_code)
    rows = []
    for name, modules in loaded.items():
        spread = Spread.of(costs[name])
        rows.append(
            Row(
                what=f"{name}, CPU time of a fresh process",
                bar=f"{BAR_START_S:g} s",
                measured=spread.text(" s"),
                met=spread.middle <= BAR_START_S,
                command="python benchmarks/run.py start",
                notes=(f"heavy modules loaded: {modules}; beside it {base[:-1]}",),
            )
        )
    return rows


def _recommend_s(cache: str) -> tuple[float, float, int]:
    """Wall time, CPU time and exit code of one recommendation, whose file is left in the cache's folder."""
    command = [sys.executable, "-m", "qtune", "recommend", str(EXAMPLE), "--target", "p95=500ms"]
    start_s, codes = time.perf_counter(), []

    def recommend() -> None:
        env = {**os.environ, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run(command, capture_output=True, env=env, cwd=cache, check=False)
        codes.append(done.returncode)

    used_s = children_cpu_s(recommend)
    return time.perf_counter() - start_s, used_s, codes[0]


def measure_recommend(quick: bool, full: bool) -> list[Row]:
    """The wait for a recommendation, with the kernel compiled before and with nothing compiled."""
    if not has_command_line():
        return [
            Row(
                what="qtune recommend",
                measured="no command line",
                command="python benchmarks/run.py recommend",
            )
        ]
    empty: list[tuple[float, float, int]] = []
    cached: list[tuple[float, float, int]] = []
    for _ in range(1 if quick else 3):
        with tempfile.TemporaryDirectory() as cache:
            empty.append(_recommend_s(cache))
            cached += [_recommend_s(cache), _recommend_s(cache)]
    rows = []
    for name, got, bar in (("cached", cached, BAR_CACHED_S), ("not compiled", empty, BAR_EMPTY_S)):
        spread = Spread.of(wall_s for wall_s, _, _ in got)
        used = Spread.of(used_s for _, used_s, _ in got)
        codes = sorted({code for _, _, code in got})
        answered = codes in ([0], [1])
        rows.append(
            Row(
                what=f"qtune recommend, kernel {name}, wall time",
                bar=f"{bar:g} s",
                measured=spread.text(" s"),
                met=spread.middle <= bar if answered else None,
                command="python benchmarks/run.py recommend",
                notes=(f"CPU time {used.text(' s')}; exit code {', '.join(map(str, codes))}",),
            )
        )
    return rows


if __name__ == "__main__":
    digest_here(int(sys.argv[2]))

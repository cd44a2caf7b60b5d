"""Run the benchmarks and print one table: ``python benchmarks/run.py [--quick | --full] [names...]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context

from measure import Row, table

BENCHMARKS: dict[str, tuple[str, str, str]] = {
    "reference": ("engines", "compare_reference", "kernel against SimPy, same rows"),
    "fleets": ("engines", "compare_fleets", "the same with 8, 64 and 512 instances"),
    "together": ("engines", "compare_together", "the same with sessions, throttling and autoscaling"),
    "threads": ("engines", "compare_threads", "two replications on two threads"),
    "cimba": ("peers", "compare_cimba", "kernel against cimba, message model"),
    "queue": ("peers", "compare_queue", "kernel against cimba and Ciw, M/M/8"),
    "memory": ("footprint", "measure_memory", "peak memory of long runs"),
    "digest": ("footprint", "compare_digest", "speed with and without rows"),
    "start": ("footprint", "measure_start", "start-up of the package and the command line"),
    "servicebus": ("servicebus", "compare_round_trips", "the emulator's round trips, and the SDK's"),
    "explorer": ("explorer", "compare_moves", "from a slider to the figures"),
    "harness": ("harness", "compare_harness", "a measured consumer, and a loop of the bare SDK"),
    "recommend": ("footprint", "measure_recommend", "the wait for a recommendation"),
}


def run_one(name: str, quick: bool, full: bool) -> list[Row]:
    """One benchmark, in a process of its own: what one loads and compiles must not weigh on the next."""
    module, function, _ = BENCHMARKS[name]
    benchmark: Callable[[bool, bool], list[Row]] = getattr(import_module(module), function)
    return benchmark(quick, full)


def main() -> None:
    """Run what is asked for; rows are printed as each benchmark ends, and all of them once more at the end."""
    known = "\n".join(f"  {name:<10} {what}" for name, (_, _, what) in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=known, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name", help="which benchmarks; all when none is named")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="short runs: a minute or two, and rough figures")
    length.add_argument(
        "--full", action="store_true", help="also what takes minutes: a digest of 1e8 messages"
    )
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    rows: list[Row] = []
    context = get_context("spawn")
    for name in chosen.names or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name][2]} ...", file=sys.stderr, flush=True)
        with ProcessPoolExecutor(1, mp_context=context) as process:
            try:
                found = process.submit(run_one, name, chosen.quick, chosen.full).result()
            except Exception as error:  # the others are still worth running
                command = f"python benchmarks/run.py {name}"
                found = [Row(what=name, measured=f"did not run: {error}"[:120], command=command)]
        print(table(found), end="\n\n", flush=True)
        rows += found
    print(table(rows, notes=False))


if __name__ == "__main__":
    main()

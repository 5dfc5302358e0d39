"""Compare random expressions or networks with mpmath: `python -m tests.fuzz --count 300000 --processes 2`."""

import argparse
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from tests.fuzz import cases, networks

CHUNK = 250
KINDS = {"expressions": cases, "networks": networks}


def run(seed: int, kind: str, count: int) -> tuple[Counter[str], list[str]]:
    """Check `count` cases; return what was seen, and the failures with their cases."""
    tally: Counter[str] = Counter()
    failures = []
    for k in range(count):
        rng = random.Random(f"{seed} {k}")
        case = KINDS[kind].draw(rng)
        tally["cases"] += 1
        try:
            wrong = KINDS[kind].check(case, random.Random(f"{seed} {k}"), tally)
        except Exception as error:
            wrong = [f"{type(error).__name__}: {error}"]
        if wrong and _problems(kind, case):
            if isinstance(case, cases.Case):
                case = cases.shrink(case, lambda c: bool(_problems(kind, c)))
            failures.append("\n  ".join([f"case {seed} {k}:", str(case), *(_problems(kind, case) or wrong)]))
    return tally, failures


def _problems(kind: str, case: Any) -> list[str]:
    """What is wrong, with more runs and digits: few runs may all move a number to the same side of a jump."""
    try:
        found: list[str] = KINDS[kind].check(case, random.Random(0), Counter(), runs=16, digits=400)
        return found
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def main() -> int:
    """Run the command; the exit status is 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default="expressions")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    began = time.perf_counter()
    tally: Counter[str] = Counter()
    failed = 0
    seeds = [options.seed * 1_000_000 + k for k in range(-(-options.count // CHUNK))]
    with ProcessPoolExecutor(options.processes) as pool:
        for seen, failures in pool.map(partial(run, kind=options.kind, count=CHUNK), seeds):
            tally += seen
            failed += len(failures)
            for failure in failures:
                print(failure, flush=True)
            if tally["cases"] % 10_000 == 0:
                print(f"{tally['cases']} of {options.count}, {failed} failed, {time.perf_counter() - began:.0f} s", flush=True)
    print(f"{dict(tally)}, {failed} failed, {time.perf_counter() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

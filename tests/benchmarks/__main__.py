"""`python -m tests.benchmarks [part ...]`: one table, all of one run; ends with 1 where a target is missed.

`--check` runs a small part of it against bounds ten times as wide, with only autograd, CasADi and JAX as peers: for CI, to
catch a tenfold slip. Peers are those of the extra `bench`; requests a second want the program wrk.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator

from app.warm import warm
from tests.benchmarks import bridges, bulk, expressions, networks, service, solvers, sparse
from tests.benchmarks.measure import Row, table

PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "tapes": lambda: expressions.tapes((1_000, 100_000, 1_000_000)),
    "micrograd": lambda: expressions.micrograd(100_000),
    "points": lambda: expressions.many_points(1_000_000),
    "cores": lambda: expressions.many_points(1_000_000, threads=2, target=0.7),
    "texts": lambda: expressions.long_text(1 << 20, 0.3, 60.0),
    "matrices": expressions.matrices,
    "sparse": lambda: sparse.matrices((1_000, 10_000, 100_000), True),
    "pairs": lambda: sparse.dense_in_disguise(200),
    "derivatives": lambda: expressions.derivatives(100_000, 2.0),
    "demo": lambda: networks.demo(in_torch=True),
    "trainings": lambda: networks.trainings(in_torch=True),
    "service": lambda: service.service(100_000),
    "arrays": lambda: service.many_points(1_000_000),
    "bridges": bridges.bridges,
    "solvers": solvers.solvers,
}
LARGE: dict[str, Callable[[], Iterator[Row]]] = {"bulk": lambda: bulk.bulk(200_000_000)}
"""Parts that run only if they are named: this one needs 60 GB of disk, Ray and some minutes."""
CHECKED: dict[str, Callable[[], Iterator[Row]]] = {
    "texts": lambda: expressions.long_text(1 << 16, 0.3, 60.0),
    "tapes": lambda: expressions.tapes((1_000, 20_000)),
    "cores": lambda: expressions.many_points(100_000, threads=2, target=0.7),
    "matrices": expressions.matrices,
    "sparse": lambda: sparse.matrices((1_000, 10_000), False),
    "pairs": lambda: sparse.dense_in_disguise(100),
    "demo": lambda: networks.demo(in_torch=False),
    "trainings": lambda: networks.trainings(in_torch=False),
    "service": lambda: service.service(20_000),
    "arrays": lambda: service.many_points(100_000),
}
GENEROUS = 10.0
ON_ALL = {"cores", "service", "arrays", "bridges", "solvers", "bulk"}
"""Parts on all processors; the service and those who ask it are processes of their own. Others have one for all contestants."""
ALL = os.sched_getaffinity(0)


def main() -> int:
    """Runs the parts and prints the table as it grows."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"all, or some of {', '.join(PARTS)}; or {', '.join(LARGE)}")
    parser.add_argument("--check", action="store_true", help="a small part, against bounds ten times as wide")
    flags = parser.parse_args()
    parts = CHECKED if flags.check else PARTS | LARGE
    warm()
    rows: list[Row] = []
    for name in flags.parts or (CHECKED if flags.check else PARTS):
        os.sched_setaffinity(0, ALL if name in ON_ALL else {max(ALL)})
        for row in parts[name]():
            if flags.check:
                row.targets = {peer: GENEROUS * most for peer, most in row.targets.items()}
            print(f"{name}: {row.work}: {'held' if row.held() else 'MISSED'}", file=sys.stderr, flush=True)
            rows.append(row)
    print(table(rows))
    return 0 if all(row.held() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.load [scenario ...] [--seconds 60]`: puts servers under load and prints a line of figures for each.

The exit code is 1 if a scenario fails: a wrong or lost response, an internal error, a figure beyond its limit.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import Server
from tests.load.cluster import CLUSTER
from tests.load.hostile import HOSTILE
from tests.load.scenarios import SCENARIOS

ALL = SCENARIOS | HOSTILE


def main() -> int:
    """Run the scenarios, each on a server of its own. Return the exit code."""
    parser = argparse.ArgumentParser("python -m tests.load", description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=[*ALL], help=f"{', '.join(ALL)} (default: all of these), ray")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the soak lasts (default: 60)")
    flags = parser.parse_args()
    passed = True
    for name in flags.scenarios:
        scenario = (ALL | CLUSTER)[name]
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder) / "log", *scenario.flags, environment=scenario.settings)
            server.wait_until_ready()
            time.sleep(2.0)  # a ready server still loads libraries for training, which delays some requests
            began = time.perf_counter()
            figures, ok = asyncio.run(scenario.run(server, flags.seconds))
            figures |= {"seconds": round(time.perf_counter() - began, 1)}
            if server.process.poll() is None:
                figures["exit"] = server.stop()
                ok &= figures["exit"] == 0
            defects = server.log.read_text().count("Traceback") + server.log.read_text().count('"status":500')
        ok = ok and not defects
        passed = passed and ok
        print(name, "passed" if ok else "FAILED", json.dumps(figures | {"defects": defects}), flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.load [scenario ...] [--seconds 60]`: starts services, loads them, and prints a line of figures for each.

Ends with 1 where a scenario does not hold: a wrong or lost answer, a defect, a limit that was passed.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import Server
from tests.load.scenarios import SCENARIOS


def main() -> int:
    """Runs the scenarios, each on a service of its own."""
    parser = argparse.ArgumentParser("python -m tests.load", description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=[*SCENARIOS], help=", ".join(SCENARIOS))
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the soak lasts (default: 60)")
    flags = parser.parse_args()
    held = True
    for name in flags.scenarios:
        scenario = SCENARIOS[name]
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder) / "log", *scenario.flags, environment=scenario.settings)
            server.wait_until_ready()
            time.sleep(2.0)  # while libraries are loaded behind readiness, which keeps others waiting now and then
            began = time.perf_counter()
            figures, right = asyncio.run(scenario.run(server, flags.seconds))
            figures |= {"seconds": round(time.perf_counter() - began, 1)}
            if server.process.poll() is None:
                figures["exit"] = server.stop()
                right &= figures["exit"] == 0
            defects = server.log.read_text().count("Traceback") + server.log.read_text().count('"status":500')
        held &= right and not defects
        print(name, "held" if right and not defects else "DID NOT HOLD", json.dumps(figures | {"defects": defects}), flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

"""Record the values that Compute Engine gives to random MathJSON expressions, in mathjson.json.

npm install --prefix FOLDER @cortex-js/compute-engine@0.140.0
python -m tests.formats.recorded.make_mathjson FOLDER
"""

import json
import sys
from pathlib import Path

from tests.formats.mathjson_cases import evaluated, random_cases

SEED, COUNT = 15, 600


def main() -> None:
    values = evaluated(random_cases(SEED, COUNT), Path(sys.argv[1]))
    text = json.dumps({"compute-engine": "0.140.0", "seed": SEED, "values": values})
    Path(__file__).with_name("mathjson.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""The app, imported and with its kernels loaded: the process that `tests.forks` forks imports this module."""

import app.main  # noqa: F401  # only imported
from app.warm import PRELOADED, warm

warm()
for load in PRELOADED:
    load()

"""Speed beside that of peers; `python -m tests.benchmarks` prints one table. Not tests: figures, all of one run.

All contestants get one thread and doubles, which is said here, before any of them is imported.
"""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ.pop("OPENBLAS_CORETYPE", None)  # a choice for the whole machine, which would hold back one contestant only
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

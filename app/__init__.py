"""autodiff-http: automatic differentiation as a web service."""

import os

# One BLAS thread, set before NumPy loads: sums of products then have one order, so an answer never depends
# on how busy the machine is. Parallelism comes from serving several requests at once.
for _variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_variable] = "1"

__version__ = "0.1.0"

"""The wire of the solvers: minima, fits and the propagation of uncertainty."""

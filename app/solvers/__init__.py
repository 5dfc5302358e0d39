"""Answers that gradients are used for: minima, fits and the propagation of uncertainty. Pure functions over `app.engine`."""

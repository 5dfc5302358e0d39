"""HTTP machinery that knows no subject: routing, bodies, problems, execution, keys, logs and metrics."""

"""What is measured of a service under load; `python -m tests.load` runs it. Not tests: it takes its time, and the machine."""

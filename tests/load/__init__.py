"""Load tests: `python -m tests.load` runs them. pytest does not, since they take minutes and the whole machine."""

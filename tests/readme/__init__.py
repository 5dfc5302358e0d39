"""The code of the README: what it is, how it is run, and what it must show."""

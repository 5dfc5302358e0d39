"""Expressions in other notations: text, LaTeX, MathML and the source code of programs."""

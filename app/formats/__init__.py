"""Expressions and models in the formats of other programs."""

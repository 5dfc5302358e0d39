"""The subject of expressions: values, derivatives and graphs under /v1."""

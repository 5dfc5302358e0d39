"""What the service says about itself."""

from typing import Annotated, Any

from msgspec import Meta, Struct


class Health(Struct):
    """Whether the service lives, or is ready for work."""

    status: Annotated[str, Meta(examples=["ok"])]


class Info(Struct):
    """What runs here, what it can do and where its limits are."""

    name: str
    version: str
    features: list[str]
    limits: dict[str, Any]


class PrimitiveRow(Struct):
    """An operation. `max_arity` is null where any number of arguments is taken, and `arity` where the number is not fixed."""

    name: str
    aliases: list[str]
    arity: int | None
    min_arity: int
    max_arity: int | None
    formula: str
    derivative: Annotated[list[str], Meta(description="The partial derivative by each argument")]
    domain: str
    kink: Annotated[str, Meta(description="What happens where there is no derivative")]


class Primitives(Struct):
    """All operations that an expression can name."""

    primitives: list[PrimitiveRow]

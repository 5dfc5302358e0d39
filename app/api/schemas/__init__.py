"""The wire's shapes, as structs that decode requests, encode answers and make the OpenAPI document's schemas."""

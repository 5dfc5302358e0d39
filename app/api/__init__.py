"""The HTTP side: what is on the wire, and how it gets to the engine and back."""

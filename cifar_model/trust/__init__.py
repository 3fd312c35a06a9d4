"""How good, how honest, how far to trust."""

"""Making the distilled pictures."""

"""Making the distilled images."""

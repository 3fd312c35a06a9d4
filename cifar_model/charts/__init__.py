"""Arrays in, charts and picture sheets out."""

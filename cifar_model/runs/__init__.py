"""Training runs as processes."""

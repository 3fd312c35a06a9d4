"""Model directories."""

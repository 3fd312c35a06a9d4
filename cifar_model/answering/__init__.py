"""A trained network asked."""

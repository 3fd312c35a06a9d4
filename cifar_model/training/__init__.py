"""Learning: from settings to a finished run directory."""

"""From picture files to pixels, and mixes of two."""

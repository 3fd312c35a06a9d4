"""A model for other programs: written in their format, read back and compared, with a note on its use."""

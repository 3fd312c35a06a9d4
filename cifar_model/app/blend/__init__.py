"""The sections of the Blend page."""

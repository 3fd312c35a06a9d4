"""The sections of the Models page."""

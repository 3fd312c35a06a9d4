"""The page Live: the network in the visitor's own browser."""

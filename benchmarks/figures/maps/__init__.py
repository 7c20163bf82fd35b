"""Maps of networks."""

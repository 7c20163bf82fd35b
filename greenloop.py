"""greenloop: the names that a user imports."""

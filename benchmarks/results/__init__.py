"""What a run was worth, and the file that says so."""

"""What incidents do to the running simulation."""

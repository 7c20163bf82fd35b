"""Scenarios x controllers x seeds, from a request to result files."""

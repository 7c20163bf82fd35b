"""One self-contained page of any set of results."""

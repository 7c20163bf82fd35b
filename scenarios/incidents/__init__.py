"""What goes wrong in a run, and the reports that tell of it."""

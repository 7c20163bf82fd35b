"""What happened in one run, second by second, in one file."""

"""The ``greenloop`` command, a file for each group of commands."""

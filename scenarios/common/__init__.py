"""What every part of the project shares and no simulator is needed for."""

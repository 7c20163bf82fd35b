"""Records on disk, and what may be learnt from."""

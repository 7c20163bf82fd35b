"""The figures, a file for each kind; ``benchmarks.figures.registry`` names them all. Loaded only to draw."""

"""The figures, a file for each kind; ``benchmarks.plots`` names them all. Loaded only to draw."""

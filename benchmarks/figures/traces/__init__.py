"""Figures of single runs, second by second."""

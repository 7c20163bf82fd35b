"""Reads answers out of a language model."""

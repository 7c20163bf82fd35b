"""Runs to records that a task learns from."""

"""Scenarios out of OpenStreetMap extracts."""

"""Incident detection: which approaches an incident blocks now, from detectors alone."""

"""Flows and queues of the next minutes."""

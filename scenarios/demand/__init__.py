"""Traffic: which vehicles drive when, where and how."""

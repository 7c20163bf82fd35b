"""Read a bulletin: kind, type, places, times, lanes, vehicles and certainty, each with a probability."""

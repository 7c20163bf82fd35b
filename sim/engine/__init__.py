"""One live SUMO simulation, in a process of its own."""

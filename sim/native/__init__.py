"""What the network says of its signals: their programs, stages and clearance times, and which of these SUMO runs."""

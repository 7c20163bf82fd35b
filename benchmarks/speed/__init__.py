"""What simulation and decisions cost."""

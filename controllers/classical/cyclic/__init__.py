"""Controllers that keep an order of phases and share out the cycle."""

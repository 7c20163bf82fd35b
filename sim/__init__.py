"""How it runs: one live SUMO simulation per process, the static network, the signals and the environments."""

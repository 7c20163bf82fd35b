"""Scenarios of CityFlow's road network and flow files: what most papers on signals and language models use."""

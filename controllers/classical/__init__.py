"""Controllers out of traffic engineering, without learning."""

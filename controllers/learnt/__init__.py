"""Controllers that learnt, or that ask a model."""

"""The language model itself: its weights, its precision, and the cards of its adapters."""

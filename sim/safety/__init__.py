"""What keeps the lights safe, whoever asks: decisions checked, intergreens, rights of way, and an audit."""

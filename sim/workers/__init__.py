"""Many runs side by side on supervised processes."""

"""A page that plays runs in the browser."""

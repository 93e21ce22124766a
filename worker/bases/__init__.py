"""Base models besides the bundled one: which there are, getting them, checking them."""

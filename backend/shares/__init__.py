"""Links for customers."""

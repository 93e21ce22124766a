"""Styles learnt from one photo, and pairs to look at first."""

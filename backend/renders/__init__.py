"""Designs shown in a style."""

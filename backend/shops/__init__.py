"""Shops (tenants), their staff and their keys."""

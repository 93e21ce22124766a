"""Telling other programs what happened (Standard Webhooks)."""

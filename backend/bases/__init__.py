"""Base models and the defaults that go with them."""

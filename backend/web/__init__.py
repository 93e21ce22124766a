"""What every endpoint shares: problems, middleware, idempotency, waiting answers, absolute addresses."""

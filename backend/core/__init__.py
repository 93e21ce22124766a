"""What every feature stands on: settings, database, storage, queue, errors, security."""

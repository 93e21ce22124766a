"""Pictures that people give us, and how everything in the object store is shown."""

"""Large files by presigned POST."""

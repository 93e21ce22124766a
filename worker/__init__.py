"""What learns and renders. Nothing imports this package; it speaks to the service through tables, objects and jobs."""

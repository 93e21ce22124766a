"""The service: API, tables and jobs. It never imports the worker or a machine learning library."""

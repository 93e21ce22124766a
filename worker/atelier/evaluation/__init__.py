"""Does the bundled base do what the method needs of it? Figures and pictures, on what its training never showed."""

"""EmbroideryBench: how well a method carries a sample's stitches to other designs, measured against the truth.

The stitch renderer draws each design in each style, so that for every picture a method makes there is the picture it
should have made. docs/benchmark.md is written by it.
"""

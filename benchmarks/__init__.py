"""Measurements of the promises about speed and memory: ratios within one run, medians of rounds.

`python -m benchmarks.intake` measures the way in. Nothing here is imported by the product.
"""

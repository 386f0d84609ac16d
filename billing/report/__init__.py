"""Reports only add. `period` says from when to when, `currency` in what, `rows` has each customer's part.

`bridge` sums the rows and checks them to the cent, `products` tells the same change by product, `render` shows it.
"""

"""Reports only add. `period` says from when to when, `currency` in what, `rows` has each customer's part.

`bridge` sums the rows and checks them to the cent, `render` shows one bridge. Every other report is a `table.Table`
made from a `scope` (whose histories, which currency, zone and policy, known up to when):

- `statement` bridges, `trend` retention over time, `cohorts` triangles
- `segments` and `products`, by `bands` and `profile`; `concentration` the ten largest apart
- `recovery` by month of failure (`performance`), source and durability, and what is at risk
- `movements` the log, `cube` one row per customer and month: what others recompute from
- `reconciliation` to another system's figure, `invoices` to what was paid, `sheet` the policy
- `benchmark` and `standing`: where we stand among published figures
- `retention` the ratios that all of them share, `rollup` the same sums month by month
"""

"""How a report leaves the house: one file per format, each made from any `billing.report.table.Table`.

`catalogue` says which reports there are, `writing` which formats; `rates` reads exchange rates. A format is imported
when it is asked for, so that a process that prints no picture never loads the library for it.
"""

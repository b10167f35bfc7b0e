"""Every number of both papers: what it takes, what was measured, and whether it held.

`claims.py` says what a claim is; `catalogue.py` has them all.
"""

"""DataFrames of the ledger: usage, filters, conversion, export."""

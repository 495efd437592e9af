"""Where records, totals and suppressions are kept: one contract, several databases."""

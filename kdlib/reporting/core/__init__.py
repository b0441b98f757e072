"""What every family of studies stands on: results, evidence, words, numbers, tables, figures."""

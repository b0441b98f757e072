"""What reporting says of pruning studies: tables, figures and findings, each in its own module."""

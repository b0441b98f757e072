"""Transfer: which layers are open."""

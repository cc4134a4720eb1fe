"""What the researcher reads: pages and figures, made from values."""

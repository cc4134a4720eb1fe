"""BIDS in and out: scans and sidecars are found and read here, outputs get their names here."""

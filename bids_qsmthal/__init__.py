"""Thalamic iron in multiple sclerosis: a BIDS App from raw MRI to tables."""

__version__ = "1.0.0"

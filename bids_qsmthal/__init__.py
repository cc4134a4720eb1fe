"""Thalamic iron in multiple sclerosis: a BIDS App from raw MRI to tables."""

__version__ = "0.1.0"

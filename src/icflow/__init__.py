"""Simulate, fit and classify hard X-ray spectra of galaxy clusters."""

__version__ = "0.1.0"

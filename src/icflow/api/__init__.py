"""What `import icflow` offers: spectra, models, fits and verdicts, from Python."""

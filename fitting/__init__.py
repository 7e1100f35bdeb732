"""Learn: data in, fitted models and their metrics out."""

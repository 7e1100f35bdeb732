"""Learn: data in, fitted models and their metrics out."""


class Mistake(ValueError):
    """Something a person must put right; its text names the file or option, what was found and what was expected."""

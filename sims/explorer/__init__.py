"""A page on which a person plays with the parameters of an equation file before anything is run at length."""

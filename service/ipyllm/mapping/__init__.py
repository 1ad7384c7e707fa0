"""A column of answers: a model is asked about each row of a table."""

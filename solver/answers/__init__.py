"""The step from candidates to the two attempts: confidence in each candidate, and the choice."""

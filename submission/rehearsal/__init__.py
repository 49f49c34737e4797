"""Rehearsals of the notebook on this machine, under Kaggle's conditions."""

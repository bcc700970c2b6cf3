"""Contracts: tables, samples, rights, recipes, runs and experiments. Imports nothing of ours."""

"""Tests of the simulated provider and its auditor."""

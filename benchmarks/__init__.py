"""Ratios measured in one run, each against a floor that is stated; never asserted."""

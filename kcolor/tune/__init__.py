"""Studies: a recipe tried with other values, by Optuna, each trial a run."""

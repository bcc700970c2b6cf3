"""The parts of an ablation: plan, trials, outcomes, verdicts, report."""

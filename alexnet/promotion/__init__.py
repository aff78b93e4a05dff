"""Champion or not: predictions, statistics, rules, decisions, and the aliases that follow."""

"""When to retrain, what was retrained, and what a retraining may take."""

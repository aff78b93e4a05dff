"""What a run reports: events, the account of an epoch, S3 requests, cost, Prometheus metrics."""

"""Training what is pending: the scheduler, the worker of one segment, who may write."""

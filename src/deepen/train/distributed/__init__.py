"""One model trained by many processes: who they are, what each holds, how rank 0 leads."""

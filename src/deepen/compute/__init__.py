"""What training costs: the exact ledger, the paper's closed forms, and the marks of equal compute."""

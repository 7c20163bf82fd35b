"""Who is better: runs, metrics, statistics, figures and the command line."""

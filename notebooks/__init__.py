"""What people look at: the dashboard and worked notebooks. They read the published file and nothing else."""

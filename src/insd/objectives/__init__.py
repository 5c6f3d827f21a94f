"""What training minimises besides the loss of the task: one term per file, and the schedules of their weights."""

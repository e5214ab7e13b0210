"""What is done now and then, one file a job. Each can be killed at any time, and repeated."""

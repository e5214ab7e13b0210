"""What people and programs ask, one file a question. Reads, and never writes."""

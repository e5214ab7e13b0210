"""Process manners: one instance at a time, signals, the program's own log."""

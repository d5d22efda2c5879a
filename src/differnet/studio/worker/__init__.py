"""What takes long, in a process of its own that can be ended at any time: to fit, to judge, to export."""

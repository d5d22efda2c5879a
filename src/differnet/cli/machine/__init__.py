"""The command on the machine: doctor."""

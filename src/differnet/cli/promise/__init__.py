"""The commands on promises: plan, audit."""
